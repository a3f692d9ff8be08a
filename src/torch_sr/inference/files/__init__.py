"""Upscale many files: find them, name results, process several at once."""
