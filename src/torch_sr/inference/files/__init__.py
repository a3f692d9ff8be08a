"""Many files: which ones, where the results go, several in flight."""
