"""Draw random crops for a training: aligned, augmented, in a reproducible order."""
