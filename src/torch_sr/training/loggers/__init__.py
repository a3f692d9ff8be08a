"""Log the metrics and images of a run: JSON lines, TensorBoard, Weights & Biases."""
