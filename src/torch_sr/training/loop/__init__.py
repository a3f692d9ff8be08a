"""The training loop of a stage: schedule, state, storage and rollback."""
