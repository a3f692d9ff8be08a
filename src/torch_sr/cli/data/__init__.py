"""``torch-sr data``: list, download, check, prepare and degrade data sets."""
