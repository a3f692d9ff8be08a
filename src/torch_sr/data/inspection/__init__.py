"""Inspect image pairs, and check data sets: ``torch-sr data check``."""
