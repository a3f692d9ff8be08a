"""What is wrong with data sets: ``torch-sr data check``."""
