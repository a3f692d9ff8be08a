"""Inspect image pairs, and check data sets for faults: ``torch-sr data check``."""
