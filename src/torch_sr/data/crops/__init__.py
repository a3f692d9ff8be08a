"""Draw random crops: aligned, augmented, in a reproducible order."""
