"""Log the metrics and images of a run."""
