"""Image files -> pixels: find the kind, open, decode."""
