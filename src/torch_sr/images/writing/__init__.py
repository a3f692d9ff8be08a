"""Pixels -> image files: what formats can hold, encoders, notes about what is lost."""
