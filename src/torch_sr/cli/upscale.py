"""``torch-sr upscale``: super-resolve images and videos, whatever their number."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torch_sr.cli.console import AsJSON, find_model, progress_bar
from torch_sr.errors import TorchSRError

if TYPE_CHECKING:
    from torch_sr.inference.batch import BatchOptions, Outcome
    from torch_sr.inference.jobs import Job
    from torch_sr.inference.upscaler import Upscaler

_QUALITY = "How files are written"
_BATCH = "Many files"
_COMPUTING = "How it is computed"


class Damaged(str, Enum):
    """What to do with damaged images."""

    REFUSE = "refuse"
    KEEP = "keep"


def upscale(
    images: Annotated[
        list[str],
        typer.Argument(help="Files, folders and patterns; - reads names from standard input."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A weights file or a name; `torch-sr models list` shows those."
        ),
    ] = "compact-x4",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the results, or the one file."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(min=0.01, help="Resample to so many times the source's size afterwards."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Resample to this width; the height follows.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Resample to this height; the width follows.")
    ] = None,
    suffix: Annotated[
        str, typer.Option(help="Appended to each name.", rich_help_panel=_QUALITY)
    ] = "_sr",
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            help="png, jpg, webp, tif, avif or gif; else as the source.", rich_help_panel=_QUALITY
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF.", rich_help_panel=_QUALITY),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="WebP and AVIF.", rich_help_panel=_QUALITY)
    ] = False,
    crf: Annotated[
        int,
        typer.Option(
            min=0, max=51, help="Of videos: 0 is lossless, 51 worst.", rich_help_panel=_QUALITY
        ),
    ] = 16,
    codec: Annotated[
        str | None,
        typer.Option(
            help="Of videos: h264, hevc, av1, ffv1 (lossless) or prores; else as the source, "
            "where the container holds that.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    deinterlace: Annotated[
        bool,
        typer.Option(
            "--deinterlace/--no-deinterlace",
            help="Make whole pictures of interlaced videos, or keep their half pictures.",
            rich_help_panel=_QUALITY,
        ),
    ] = True,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Go on where a run was broken off.", rich_help_panel=_BATCH
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace results, though never a source.", rich_help_panel=_BATCH
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Do only each N-th file, from the I-th on, for N processes or machines.",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    damaged: Annotated[
        Damaged,
        typer.Option(
            "--damaged",
            help="Damaged images: refuse them, or keep what can be read and make the rest gray.",
            rich_help_panel=_BATCH,
        ),
    ] = Damaged.REFUSE,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Draw each beside bicubic: photo_sr_sheet.png.",
            rich_help_panel=_BATCH,
        ),
    ] = False,
    as_json: AsJSON = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto (cuda, mps, cpu: the first there is), cpu, cuda, mps; or several, "
            "with commas, which share the files: cuda:0,cuda:1.",
            rich_help_panel=_COMPUTING,
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto (fp16 on CUDA, else fp32), fp32, bf16 or fp16.",
            rich_help_panel=_COMPUTING,
        ),
    ] = "auto",
    tile_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Largest tile in pixels of the input; else what fits the memory.",
            rich_help_panel=_COMPUTING,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Context around each tile and around the picture, in pixels; by default measured.",
            rich_help_panel=_COMPUTING,
        ),
    ] = None,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            help="Mean over the eight flips and turns; eight times slower.",
            rich_help_panel=_COMPUTING,
        ),
    ] = False,
    max_pixels: Annotated[
        int,
        typer.Option(min=1, help="Refuse larger images, of a page.", rich_help_panel=_COMPUTING),
    ] = 500_000_000,
) -> None:
    """Super-resolve images and videos: photo.jpg becomes photo_sr.jpg.

    Gray, alpha, 16 bits, colour profile, EXIF and animation are kept. A file that fails is told at
    the end, and the others are done.
    """
    _check_usage(scale, width, height, skip_existing, overwrite)
    _check_codec(codec)
    number, count = _parse_shard(part)
    from torch_sr.images import WriteOptions
    from torch_sr.inference.batch import BatchOptions, survey, target_size
    from torch_sr.inference.jobs import find_jobs, read_names, shard
    from torch_sr.inference.upscaler import Upscaler

    names = [name for argument in images for name in _expanded(argument, read_names)]
    jobs = find_jobs(names, out, suffix=suffix, format=format, sheets=compare)
    jobs = shard(jobs, number, count)
    weights = find_model(model)
    upscalers = [
        Upscaler(
            weights, device=name, precision=precision, tile_size=tile_size, overlap=overlap, tta=tta
        )
        for name in device.split(",")
    ]
    options = BatchOptions(
        write=WriteOptions(format, quality, lossless),
        size=target_size(scale, width, height),
        existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        max_pixels=max_pixels,
        crf=crf,
        codec=codec,
        deinterlace=deinterlace,
        damaged=damaged.value,
    )
    jobs = list(survey(jobs, upscalers[0].scale_factor, options))
    outcomes = _run(upscalers, jobs, options, as_json=as_json)
    _summarise(outcomes, sum(upscaler.tiles_redone for upscaler in upscalers), as_json=as_json)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _run(
    upscalers: Sequence[Upscaler],
    jobs: Sequence[Job],
    options: BatchOptions,
    *,
    as_json: bool,
) -> list[Outcome]:
    """Do the files, and tell of each as it is done."""
    from torch_sr.images import display_name
    from torch_sr.inference.batch import upscale_files

    outcomes = []
    with _progress(jobs) as (on_tile, on_outcome):
        for outcome in map(_with_sheet, upscale_files(upscalers, jobs, options, on_tile)):
            outcomes.append(outcome)
            on_outcome(outcome)
            for note in outcome.notes if not as_json else ():
                print(f"note: {display_name(outcome.job.source)}: {note}", file=sys.stderr)
            if as_json:
                print(json.dumps(outcome.to_dict()), flush=True)
            elif outcome.status == "done":
                print(outcome.job.target, flush=True)
    return outcomes


def _summarise(outcomes: Sequence[Outcome], redone: int, *, as_json: bool) -> None:
    """Say what failed, and how many were done, where that is not plain."""
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("done", "skipped", "failed")
    }
    if as_json:
        print(json.dumps({"summary": {**counts, "tiles_redone": redone}}))
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.message}", file=sys.stderr)
    if counts["skipped"] or counts["failed"]:
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        print(told, file=sys.stderr)
    if redone:
        print(
            f"{redone} tiles overflowed in half precision and were computed again in fp32",
            file=sys.stderr,
        )


@contextmanager
def _progress(
    jobs: Sequence[Job],
) -> Iterator[tuple[Callable[[Job, int, int], None], Callable[[Outcome], None]]]:
    """A bar over all pixels, with the images done and the speed; invisible without a terminal."""
    from rich.markup import escape

    from torch_sr.images import display_name

    total = sum(job.pixels for job in jobs if job.refusal is None)
    with progress_bar("{task.fields[told]}", counted=False) as progress:
        task = progress.add_task("", total=total or None, told="")
        done_pixels: dict[Path, float] = {}
        finished = 0

        def show(job: Job) -> None:
            speed = progress.tasks[0].speed
            told = f"{finished}/{len(jobs)} images"
            told += f"  {speed / 1e6:.2f} MP/s" if speed else ""
            progress.update(
                task,
                completed=sum(done_pixels.copy().values()),
                told=told,
                description=escape(display_name(job.source.name)),
            )

        def on_tile(job: Job, done: int, tiles: int) -> None:
            done_pixels[job.source] = job.pixels * done / tiles
            show(job)

        def on_outcome(outcome: Outcome) -> None:
            nonlocal finished
            finished += 1
            done_pixels[outcome.job.source] = outcome.job.pixels
            show(outcome.job)

        yield on_tile, on_outcome


def _with_sheet(outcome: Outcome) -> Outcome:
    """Draw the sheet that is asked for, unless it is there already; a failure is the file's own."""
    from torch_sr.evaluation.figures import draw_upscaled
    from torch_sr.images import Image, display_name, write_image

    job = outcome.job
    skipped = outcome.status == "skipped" and job.sheet is not None and job.sheet.exists()
    if job.sheet is None or outcome.status == "failed" or skipped:
        return outcome
    try:
        write_image(job.sheet, Image(draw_upscaled(job.source, job.target)))
    except (TorchSRError, MemoryError) as error:
        reason = str(error) or "not enough memory"
        message = f"{display_name(job.sheet)}: cannot be drawn: {reason}"
        return replace(outcome, status="failed", message=message)
    return outcome


def _expanded(argument: str, read_names: Callable[[Iterable[str]], list[str]]) -> list[str]:
    if argument != "-":
        return [argument]
    if sys.stdin is None:
        raise typer.BadParameter(
            "-: standard input is closed; give names, or a list through a pipe"
        )
    # As bytes: names may hold what is no text, and line ends that are none.
    return read_names([os.fsdecode(sys.stdin.buffer.read())])


def _check_usage(
    scale: float | None, width: int | None, height: int | None, skip: bool, overwrite: bool
) -> None:
    if scale is not None and not math.isfinite(scale):
        raise typer.BadParameter(f"--scale {scale} is no number; write one such as 2 or 2.5")
    if scale is not None and (width is not None or height is not None):
        raise typer.BadParameter("--scale and --width or --height: give one of them")
    if skip and overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite: give one of them")


def _check_codec(codec: str | None) -> None:
    from torch_sr.inference.video import CODECS

    if codec is not None and codec not in CODECS:
        raise typer.BadParameter(f"--codec {codec}: use one of {', '.join(CODECS)}")


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"--shard {text}: write I/N with I from 1 to N, as 2/4")
    return int(match[1]), int(match[2])
