"""Choose training and validation images from a folder of photographs."""
