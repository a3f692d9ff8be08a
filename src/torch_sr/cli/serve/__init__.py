"""``torch-sr serve``: a page and an HTTP API that upscale images."""
