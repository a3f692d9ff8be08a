"""TIFF files: pages, samples and EXIF that libvips does not read or write."""
