"""The options of ``torch-sr test``; its panels group them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from torch_sr.cli.options import COMPUTE_DEVICE, ENGINE, PRECISION, THREADS, TILE_SIZE
from torch_sr.options import DATA_ROOT, DOWNLOAD, Option

_COMPARISON = "Comparisons"
_OUTPUT = "Output"


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured, and how results are printed and stored."""

    datasets: Annotated[
        str,
        Option(
            "Comma-separated data sets, by name or folder, as set5,div2k:val.", ("--datasets", "-d")
        ),
    ] = "set5,set14"
    data_root: Annotated[Path, DATA_ROOT] = Path("data")
    download: Annotated[bool, DOWNLOAD] = False
    metrics: Annotated[
        str,
        Option(
            "Comma-separated: psnr, ssim, content_loss, perceptual_loss, lpips, dists, niqe, "
            "brisque; or all, for all that are available."
        ),
    ] = "psnr,ssim"
    protocol: Annotated[
        str,
        Option(
            "paper (luma, border cropped, 8 bit), rgb, or enhanced-srgan (gray, nothing cropped "
            "or rounded); several, comma-separated, give a table each."
        ),
    ] = "paper"
    versus: Annotated[
        str | None,
        Option(
            "Compare every method with the one of this label, by a paired bootstrap over images.",
            panel=_COMPARISON,
            default="the first of several models",
        ),
    ] = None
    strength: Annotated[
        str | None,
        Option(
            "Measure compact-x4 and its partner compact-x4-real at one strength (0.7), at several "
            "(0,0.5,1), or at a sweep (0:1:0.1). Models without a partner are measured once.",
            panel=_COMPARISON,
        ),
    ] = None
    sweep: Annotated[
        str | None,
        Option(
            "Also measure interpolations of two models.",
            panel=_COMPARISON,
            metavar="FIRST,SECOND",
        ),
    ] = None
    sweep_steps: Annotated[
        int, Option("Steps from the first to the second.", panel=_COMPARISON, min=1)
    ] = 5
    cost: Annotated[
        bool,
        Option(
            "Add parameters, multiply-adds for an output of 1280x720, and megapixels per second.",
            panel=_COMPARISON,
        ),
    ] = False
    file_format: Annotated[
        str,
        Option("What to print: table, markdown, latex, csv or json.", ("--format",), panel=_OUTPUT),
    ] = "table"
    per_image: Annotated[bool, Option("Print the metrics of every image.", panel=_OUTPUT)] = False
    show_results: Annotated[
        int,
        Option(
            "Show the N images with the best PSNR, in a window if there is a display.",
            panel=_OUTPUT,
            min=0,
            metavar="N",
        ),
    ] = 0
    out: Annotated[
        Path | None,
        Option(
            "Folder for the results of the models and a sheet for every image.",
            ("--out", "-o"),
            panel=_OUTPUT,
            metavar="FOLDER",
        ),
    ] = None
    report: Annotated[
        Path | None,
        Option("Write one HTML page of tables, plots and sliders.", panel=_OUTPUT, metavar="FILE"),
    ] = None
    csv: Annotated[
        Path | None,
        Option("Write every image's metrics to this file.", panel=_OUTPUT, metavar="FILE"),
    ] = None
    plane: Annotated[
        Path | None,
        Option(
            "Plot PSNR against a perceptual metric (the first of --metrics, else LPIPS) as a PNG.",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None
    record: Annotated[
        bool, Option("Also record the means in the weights files of the models.", panel=_OUTPUT)
    ] = False
    device: Annotated[str, COMPUTE_DEVICE] = "auto"
    precision: Annotated[str, PRECISION] = "fp32"
    engine: Annotated[str, ENGINE] = "auto"
    threads: Annotated[int | None, THREADS] = None
    tile_size: Annotated[int | None, replace(TILE_SIZE, default="640")] = None
