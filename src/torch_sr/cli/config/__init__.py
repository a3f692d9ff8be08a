"""``torch-sr config``: check, print and import configurations."""
