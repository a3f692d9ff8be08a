"""The networks that are trained: the generator and the discriminators."""
