"""Training: stages compute the steps, the trainer runs everything around them."""
