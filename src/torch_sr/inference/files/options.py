"""How a batch of files is treated: options of ``torch-sr upscale``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch_sr.images import MAX_PIXELS, WriteOptions
from torch_sr.inference.files.sizes import TargetSize
from torch_sr.options import Option

_OUTPUT = "Output files"


@dataclass(frozen=True)
class BatchOptions:
    """How files are treated.

    Args:
        size: resample each result; see :meth:`Upscaler.upscale_file`.
        existing: what to do with results that exist.
        max_pixels: refuse larger pages.
        crf: quality of videos, on the scale of x264.
        codec: see :func:`~torch_sr.inference.video.upscaling.upscale_video`.
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    size: TargetSize | None = None
    existing: Literal["refuse", "skip", "overwrite"] = "refuse"
    crf: Annotated[
        int,
        Option("Quality of videos, from 0 (lossless) to 51 (worst).", panel=_OUTPUT, min=0, max=51),
    ] = 16
    codec: Annotated[
        str | None,
        Option(
            "Codec of videos: h264, hevc, av1, vp9, prores or ffv1 (lossless).",
            panel=_OUTPUT,
            default="as the source, if the container can hold it",
        ),
    ] = None
    deinterlace: Annotated[
        bool,
        Option(
            "Convert interlaced videos to progressive frames, or keep their fields.", panel=_OUTPUT
        ),
    ] = True
    damaged: Annotated[
        Literal["refuse", "keep"],
        Option(
            "Refuse damaged images, or keep what can be read and fill the rest with gray.",
            panel="Many files",
        ),
    ] = "refuse"
    max_pixels: Annotated[
        int | None, Option("Refuse images or pages with more pixels.", panel="Computation", min=1)
    ] = MAX_PIXELS
