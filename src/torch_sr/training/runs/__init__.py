"""What a run reads and writes: checkpoints, models, results, and their names."""
