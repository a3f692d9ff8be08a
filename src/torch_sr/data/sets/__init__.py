"""Where images are: known data sets, custom folders and lists, and how HR and LR are paired."""
