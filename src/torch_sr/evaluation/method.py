"""A measured way to super-resolve: a model, a mixture or bicubic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch_sr.aliases import Array
from torch_sr.data.resize import imresize
from torch_sr.models.model import Model

SuperResolve = Callable[[Array], Array]
"""``(H, W, C)`` to ``(H * s, W * s, C)``, both uint8, both uint16, or both float32 in [0, 1]."""

Group = Literal["networks", "images"]
BASELINE = "bicubic"
"""The label of the baseline, which no model can have."""


@dataclass(frozen=True)
class Method:
    """One way to super-resolve an image.

    Args:
        label: the name that is shown; distinct within a test, and never parsed.
        super_resolve: computes the result.
        group: the sweep that contains it: interpolated ``networks`` or interpolated ``images``.
        alpha: its position in that sweep, in [0, 1].
        model: the model that computes the result, if it is one.
        rounds_between: whether it rounds integers between its steps, so that its result for
            integers differs from its rounded result for floats.
    """

    label: str
    super_resolve: SuperResolve
    group: Group | None = None
    alpha: float | None = None
    model: Model | None = None
    rounds_between: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is a model as it was loaded: not the baseline, not part of a sweep."""
        return self.group is None and self.model is not None


def bicubic(scale_factor: int) -> Method:
    """The baseline of every table: MATLAB's bicubic interpolation."""
    scale = float(scale_factor)
    return Method(BASELINE, lambda lr: imresize(lr, scale), rounds_between=True)
