"""``torch-sr models``: list, download, inspect, convert and make models."""
