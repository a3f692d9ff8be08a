"""Pixels -> image files: what formats can hold, encoders, notes on losses."""
