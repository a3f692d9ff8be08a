"""The models that ship with torch-sr, and the pairs among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHIPPED = {
    "compact-x4": "compact_x4.safetensors",
    "compact-x4-real": "compact_x4_real.safetensors",
}
"""Files in this folder, by the models' names."""


@dataclass(frozen=True)
class Pair:
    """Two models whose weights can be mixed, because the second was fine-tuned from the first.

    Args:
        faithful: the model at strength 0: it adds nothing that is not in the image.
        restoring: the model at strength 1: it removes noise and compression artifacts.
        default_strength: suits photographs of unknown origin.
        overlaps: what :func:`~torch_sr.inference.receptive_field.measure_overlap` measures in fp32,
            by strength; other strengths are measured on first use.
    """

    faithful: str
    restoring: str
    default_strength: float
    overlaps: Mapping[float, int] = field(default_factory=dict, hash=False)

    def partner(self, name: str) -> str:
        """The other model."""
        return self.restoring if name == self.faithful else self.faithful


PAIRS = (
    Pair(
        "compact-x4",
        "compact-x4-real",
        default_strength=0.7,
        overlaps={0.0: 14, 0.7: 12, 1.0: 12},
    ),
)
DEFAULT_MODEL = "compact-x4"
"""The model that is used if none is named; with a partner, at the pair's default strength."""


def canonical_name(name: str) -> str:
    """A model's name as in the tables: in lower case, with hyphens."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def shipped_path(name: str) -> Path | None:
    """The file of a shipped model, whose name may have any case, hyphens or underscores.

    Returns:
        None if there is none of that name.
    """
    file = SHIPPED.get(canonical_name(name))
    return None if file is None else Path(__file__).parent / file


def find_pair(name: str | Path) -> Pair | None:
    """The pair to which a model of this name belongs; None if it has no partner."""
    for pair in PAIRS:
        if canonical_name(str(name)) in (pair.faithful, pair.restoring):
            return pair
    return None
