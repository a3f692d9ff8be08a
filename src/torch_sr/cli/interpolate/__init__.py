"""``torch-sr interpolate``: mix the weights of networks."""
