"""The containers that videos are written in."""

from __future__ import annotations

CONTAINERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""Suffix of the target -> ffmpeg's name of the container."""
