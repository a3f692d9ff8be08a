"""Plan a training on a folder of photographs: ``torch-sr train --images``."""
