"""Where images are: data sets by name, folders, lists, archives, and how HR and LR are paired."""
