"""Networks: generator, discriminators, feature extractors."""
