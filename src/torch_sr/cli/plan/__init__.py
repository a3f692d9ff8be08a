"""``torch-sr plan``: what a large job will cost."""
