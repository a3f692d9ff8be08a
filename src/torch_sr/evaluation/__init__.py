"""Measuring generators."""
