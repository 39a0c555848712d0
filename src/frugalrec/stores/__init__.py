"""Caches and other things kept between runs."""
