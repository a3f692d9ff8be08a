"""Image pairs: where they lie, how they are made, cached and cropped."""
