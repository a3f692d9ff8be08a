"""The options of ``torch-sr upscale``; its panels group them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from torch_sr.cli.options import COMPUTATION, COMPUTE_DEVICE, ENGINE, PRECISION, THREADS, TILE_SIZE
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.weights import DEFAULT_MODEL, find_pair
from torch_sr.options import Option

_OUTPUT = "Output files"
_FILES = "Many files"


def _strength() -> Option:
    """The option ``--strength``, which names the two models of the default pair."""
    pair = find_pair(DEFAULT_MODEL)
    if pair is None:
        return Option(
            "From 0 (faithful) to 1 (restoring), for models with a partner.", min=0, max=1
        )
    return Option(
        f"Mix of two models, from 0 ({pair.faithful}, faithful) to 1 ({pair.restoring}, "
        "restoring).",
        min=0,
        max=1,
        default=f"{pair.default_strength:g}; with -m, that of the named model",
    )


@dataclass(frozen=True)
class ComputeOptions:
    """How results are computed: the arguments of :class:`~torch_sr.inference.upscaler.Upscaler`."""

    device: Annotated[
        str,
        replace(
            COMPUTE_DEVICE,
            help=f"{COMPUTE_DEVICE.help[:-1]}; or several, comma-separated, "
            "which share the files: cuda:0,cuda:1.",
        ),
    ] = "auto"
    precision: Annotated[str, PRECISION] = "auto"
    engine: Annotated[str, ENGINE] = "auto"
    threads: Annotated[int | None, THREADS] = None
    tile_size: Annotated[int | None, replace(TILE_SIZE, default="what fits into memory")] = None
    overlap: Annotated[
        int | None,
        Option(
            "Context around each tile and around the image, in pixels.",
            panel=COMPUTATION,
            min=0,
            default="measured",
        ),
    ] = None
    tta: Annotated[
        bool,
        Option(
            "Average over the eight flips and rotations; eight times slower.", panel=COMPUTATION
        ),
    ] = False


@dataclass(frozen=True)
class UpscaleOptions:
    """All options of ``torch-sr upscale``, in the order of its help."""

    model: Annotated[
        str | None,
        Option(
            "A weights file, or a name that `torch-sr models list` shows.",
            ("--model", "-m"),
            default=DEFAULT_MODEL,
        ),
    ] = None
    strength: Annotated[float | None, _strength()] = None
    out: Annotated[
        str | None,  # a path would lose the slash at its end
        Option(
            "Folder for the results, or the file for one image. A name with a suffix is a file "
            "unless it ends with a slash or the folder exists.",
            ("--out", "-o"),
            metavar="PATH",
        ),
    ] = None
    scale: Annotated[
        float | None,
        Option("Resample the results to this multiple of the source's size.", min=0.01),
    ] = None
    width: Annotated[
        int | None, Option("Resample to this width; without --height, in proportion.", min=1)
    ] = None
    height: Annotated[
        int | None, Option("Resample to this height; without --width, in proportion.", min=1)
    ] = None
    suffix: Annotated[str, Option("Appended to the name of each result.", panel=_OUTPUT)] = "_sr"
    skip_existing: Annotated[
        bool, Option("Skip files whose results exist, to resume an interrupted run.", panel=_FILES)
    ] = False
    overwrite: Annotated[
        bool, Option("Replace existing results; a source is never replaced.", panel=_FILES)
    ] = False
    shard: Annotated[
        str | None,
        Option(
            "Process every N-th file, starting with the I-th, for N processes or machines.",
            panel=_FILES,
            metavar="I/N",
        ),
    ] = None
    compare: Annotated[
        bool, Option("Draw each result next to bicubic: photo_sr_sheet.png.", panel=_FILES)
    ] = False
    quiet: Annotated[
        bool,
        Option(
            "Print only failures on stderr: no progress, notes or summary.",
            ("--quiet", "-q"),
            panel=_FILES,
        ),
    ] = False
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
