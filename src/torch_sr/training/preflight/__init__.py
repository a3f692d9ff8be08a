"""What is checked before a training starts: options, memory, disk, pace and crops."""
