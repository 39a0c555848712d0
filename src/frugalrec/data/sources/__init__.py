"""Readers of files, one format a file; what starts with an underscore is shared by them."""
