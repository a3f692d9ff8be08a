"""Format-specific code, for what libvips does not do."""
