"""Text → vectors. One component a file."""
