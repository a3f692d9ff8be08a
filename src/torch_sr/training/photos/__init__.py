"""``torch-sr train --images``: a training planned from a folder of photographs."""
