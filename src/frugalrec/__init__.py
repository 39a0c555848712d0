"""frugalrec: recommenders that use a language model where it pays, and can prove it."""

__version__ = "0.1.0"
