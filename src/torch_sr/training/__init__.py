"""Training: stages compute the steps, the trainer does the rest."""
