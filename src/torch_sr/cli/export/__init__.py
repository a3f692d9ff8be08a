"""``torch-sr export``: write a model for other programs."""
