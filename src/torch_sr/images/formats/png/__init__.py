"""PNG files chunk by chunk: what libvips does not read or write."""
