"""Load, save, convert and interpolate models, and find them by name."""
