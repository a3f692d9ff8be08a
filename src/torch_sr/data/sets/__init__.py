"""Find images: known data sets, custom folders and lists, pairs."""
