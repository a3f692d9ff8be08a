"""``torch-sr doctor``: what this installation can do on this machine."""
