"""Rating models: who and what → the rating that is to be expected. One component a file."""
