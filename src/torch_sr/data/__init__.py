"""Training and test images: data sets, their inspection, caching, cropping and degradation."""
