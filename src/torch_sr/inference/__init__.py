"""Super-resolving images and videos: tiles, engines, files."""
