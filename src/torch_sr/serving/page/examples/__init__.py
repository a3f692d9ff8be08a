"""Small photographs to try the page with; README.md has their sources and licenses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """An image that ships with the page.

    Args:
        path: of the file.
        label: what is to be seen.
    """

    path: Path
    label: str


EXAMPLES_FOLDER = Path(__file__).resolve().parent
EXAMPLES = (
    Example(EXAMPLES_FOLDER / "cat.jpg", "A cat"),
    Example(EXAMPLES_FOLDER / "coffee.jpg", "A cup of coffee"),
    Example(EXAMPLES_FOLDER / "astronaut.jpg", "An astronaut"),
)
