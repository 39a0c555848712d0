"""Cleaning and reading of text."""
