"""Checks before a training starts: options, memory, disk, speed and crops."""
