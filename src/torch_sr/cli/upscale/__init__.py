"""``torch-sr upscale``: super-resolve images and videos."""
