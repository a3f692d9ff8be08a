"""The models that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path

SHIPPED = {"compact-x4": "compact_x4.safetensors"}


def shipped_path(name: str) -> Path | None:
    """The file of a shipped model; None where there is none of that name."""
    return Path(__file__).parent / SHIPPED[name] if name in SHIPPED else None
