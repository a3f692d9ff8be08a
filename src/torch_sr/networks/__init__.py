"""Networks: the generator, the discriminators and those that extract features."""
