"""Where a run's numbers and images go."""
