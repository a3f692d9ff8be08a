"""Measure models: methods, metrics, statistics, and how results are presented."""
