"""The cost of a method: parameters, multiply-adds, and speed in this test.

Multiply-adds are counted for an output of 1280x720 pixels, as the literature on efficient networks
has done since CARN (Ahn et al. 2018). The speed is that of this machine and includes tiling and
conversions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.method import Method
from torch_sr.models.inspection import count_macs
from torch_sr.models.model import Model

OUTPUT = (1280, 720)
"""Width and height of the output for which multiply-adds are counted."""


@dataclass(frozen=True)
class MethodCost:
    """The cost of a method on one data set; None if a value is unknown or does not apply.

    Args:
        num_parameters: number of parameters of the network.
        macs: multiply-adds for an output of ``OUTPUT`` pixels.
        megapixels_per_second: measured speed, in output pixels; the first of several images does
            not count.
    """

    num_parameters: int | None
    macs: int | None
    megapixels_per_second: float | None


class CostWatch:
    """Collect the costs of the methods of a test.

    Args:
        methods: all methods but the baseline, for which only the speed is measured.
        scale_factor: the scale factor of the models.
    """

    def __init__(self, methods: Sequence[Method], scale_factor: int) -> None:
        self._methods = {method.label: method for method in methods}
        self._sizes = {
            method.label: _count(method.model, scale_factor) for method in methods if method.model
        }
        self._seen: dict[str, dict[str, list[tuple[float, float]]]] = {}

    def add(self, comparison: Comparison) -> None:
        """Add the times of an image."""
        megapixels = comparison.hr.shape[0] * comparison.hr.shape[1] / 1e6
        methods = self._seen.setdefault(comparison.dataset, {})
        for label, seconds in comparison.seconds.items():
            methods.setdefault(label, []).append((megapixels, seconds))

    def costs(self) -> dict[str, dict[str, MethodCost]]:
        """The costs by data set and method."""
        return {
            dataset: {label: self._cost(label, times) for label, times in methods.items()}
            for dataset, methods in self._seen.items()
        }

    def _cost(self, label: str, times: Sequence[tuple[float, float]]) -> MethodCost:
        parameters, macs = self._sizes.get(label, (None, None))
        method = self._methods.get(label)
        if method is not None and method.group == "images":  # these share their computation
            return MethodCost(parameters, macs, None)
        warm = times[1:] or times  # the first image includes the warm-up
        seconds = sum(second for _, second in warm)
        return MethodCost(parameters, macs, sum(mp for mp, _ in warm) / max(seconds, 1e-9))


def _count(model: Model, scale_factor: int) -> tuple[int, int]:
    """Parameters, and multiply-adds for an output of ``OUTPUT`` pixels."""
    per_pixel = count_macs(model.network, model.img_channels)
    pixels = OUTPUT[0] * OUTPUT[1] / scale_factor**2
    return model.info.num_parameters, round(per_pixel * pixels)
