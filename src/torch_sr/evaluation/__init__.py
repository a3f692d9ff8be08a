"""Measure models: methods, metrics, statistics, presentation."""
