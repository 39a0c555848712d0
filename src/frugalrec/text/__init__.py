"""Cleaning and rendering of text."""
