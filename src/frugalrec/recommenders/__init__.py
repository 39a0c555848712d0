"""Queries → candidates. One component a file."""
