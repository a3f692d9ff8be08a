"""What a training draws: aligned random crops, augmented, in a reproducible order."""
