"""Ranks of the relevant items → numbers. One metric a file."""
