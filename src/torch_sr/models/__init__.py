"""Models: loading, saving, converting and interpolating them, and finding them by name."""
