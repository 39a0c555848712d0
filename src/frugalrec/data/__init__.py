"""Interactions, catalogues, datasets and their splits."""
