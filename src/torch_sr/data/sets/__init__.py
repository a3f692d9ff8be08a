"""Find images: known data sets, custom folders and lists, and pairs of HR and LR."""
