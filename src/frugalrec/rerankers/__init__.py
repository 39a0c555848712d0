"""Candidates → better order. One component a file."""
