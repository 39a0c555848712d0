"""Ways to split a dataset into what is learned from and what is held out. One component a file."""
