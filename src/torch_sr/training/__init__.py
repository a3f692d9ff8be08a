"""Training: stages do the steps, the trainer the rest."""
