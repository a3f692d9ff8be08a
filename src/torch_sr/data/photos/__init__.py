"""A folder of photographs as training data: unfit images left out, similar ones kept together."""
