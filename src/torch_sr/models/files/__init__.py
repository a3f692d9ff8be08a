"""Weights files: how their tensors are named, read and written."""
