"""The options of ``torch-sr upscale``, one type each; panels group them in the help."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from torch_sr.models.weights import DEFAULT_MODEL, find_pair


class DamagedFiles(str, Enum):
    """What to do with damaged images."""

    REFUSE = "refuse"
    KEEP = "keep"


def _strength_help() -> str:
    if (pair := find_pair(DEFAULT_MODEL)) is None:
        return "From 0, faithful, to 1, restoring, for a model with a partner."
    return (
        f"From 0, faithful ({pair.faithful}), to 1, restoring ({pair.restoring}). "
        f"\\[default: {pair.default_strength:g}; with -m, that of the named model]"
    )


_QUALITY = "How files are written"
_BATCH = "Many files"
_COMPUTING = "How it is computed"

Images = Annotated[
    list[str],
    typer.Argument(help="Files, folders and patterns; - reads names from standard input."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A weights file or a name; `torch-sr models list` shows those. "
        f"\\[default: {DEFAULT_MODEL}]",
    ),
]
Strength = Annotated[
    float | None,
    typer.Option("--strength", min=0, max=1, help=_strength_help()),
]
Out = Annotated[
    str | None,  # a path would lose the slash at its end
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="Folder for the results, or for one image the file. A name with an ending is a file "
        "unless it ends with a slash or the folder exists.",
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(min=0.01, help="Resample to so many times the source's size afterwards."),
]
Width = Annotated[
    int | None, typer.Option(min=1, help="Resample to this width; the height follows.")
]
Height = Annotated[
    int | None, typer.Option(min=1, help="Resample to this height; the width follows.")
]
Suffix = Annotated[str, typer.Option(help="Appended to each name.", rich_help_panel=_QUALITY)]
Format = Annotated[
    str | None,
    typer.Option(
        help="png, jpg, webp, tif, avif or gif; else as the source.", rich_help_panel=_QUALITY
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF.", rich_help_panel=_QUALITY),
]
Lossless = Annotated[
    bool, typer.Option("--lossless", help="WebP and AVIF.", rich_help_panel=_QUALITY)
]
CRF = Annotated[
    int,
    typer.Option(
        min=0, max=51, help="Of videos: 0 is lossless, 51 worst.", rich_help_panel=_QUALITY
    ),
]
Codec = Annotated[
    str | None,
    typer.Option(
        help="Of videos: h264, hevc, av1, ffv1 (lossless) or prores; else as the source, "
        "where the container holds that.",
        rich_help_panel=_QUALITY,
    ),
]
Deinterlace = Annotated[
    bool,
    typer.Option(
        "--deinterlace/--no-deinterlace",
        help="Make whole pictures of interlaced videos, or keep their half pictures.",
        rich_help_panel=_QUALITY,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Leave results that exist; resumes an interrupted run.",
        rich_help_panel=_BATCH,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace results that exist, never a source.", rich_help_panel=_BATCH
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do only each N-th file, from the I-th on, for N processes or machines.",
        rich_help_panel=_BATCH,
    ),
]
Damaged = Annotated[
    DamagedFiles,
    typer.Option(
        "--damaged",
        help="Damaged images: refuse them, or keep what can be read and make the rest gray.",
        rich_help_panel=_BATCH,
    ),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Draw each beside bicubic: photo_sr_sheet.png.",
        rich_help_panel=_BATCH,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="On stderr only what failed: no progress, notes or summary.",
        rich_help_panel=_BATCH,
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto (cuda, mps, cpu: the first there is), cpu, cuda, mps; or several, "
        "with commas, which share the files: cuda:0,cuda:1.",
        rich_help_panel=_COMPUTING,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto (fp16 on CUDA, else fp32), fp32, bf16 or fp16.",
        rich_help_panel=_COMPUTING,
    ),
]
TileSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Largest tile in pixels of the input; else what fits the memory.",
        rich_help_panel=_COMPUTING,
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Context around each tile and around the picture, in pixels; by default measured.",
        rich_help_panel=_COMPUTING,
    ),
]
TTA = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Mean over the eight flips and turns; eight times slower.",
        rich_help_panel=_COMPUTING,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(min=1, help="Refuse larger images, of a page.", rich_help_panel=_COMPUTING),
]
