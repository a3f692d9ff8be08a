"""``torch-sr test``: measure models on data sets."""
