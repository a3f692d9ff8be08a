"""Read and write the files of a run: checkpoints, models, and their names."""
