"""What is particular to single file formats, and what libvips does not do for them."""
