"""The options of ``torch-sr interpolate`` that show and measure a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch_sr.options import Option

_PANEL = "Finding the best alpha"


@dataclass(frozen=True)
class SweepOptions:
    """How the networks of a sweep are shown and measured."""

    preview: Annotated[
        Path | None,
        Option(
            "Draw the most detailed part of this image at every alpha: OUT_preview.png.",
            panel=_PANEL,
            metavar="IMAGE",
        ),
    ] = None
    datasets: Annotated[
        str | None,
        Option(
            "Measure the sweep on these data sets, such as set5,set14; draw OUT_curve.png and "
            "report the best alpha.",
            ("--datasets", "-d"),
            panel=_PANEL,
        ),
    ] = None
    perception: Annotated[
        str | None,
        Option(
            "Metric to weigh against PSNR: lpips, dists, niqe, brisque or perceptual_loss.",
            panel=_PANEL,
            default="lpips",
        ),
    ] = None
    image_space: Annotated[
        bool,
        Option("Also show mixtures of the two networks' images.", panel=_PANEL),
    ] = False
