"""Fakes and contracts for every seam. Public; imported by nothing else in frugalrec."""
