"""Training and test images: data sets, inspection, caches, crops."""
