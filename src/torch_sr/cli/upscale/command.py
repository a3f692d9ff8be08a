"""``torch-sr upscale``: super-resolve images and videos, whatever their number."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from torch_sr.cli.downloads import load_model
from torch_sr.cli.options import AsJSON
from torch_sr.cli.upscale import options
from torch_sr.cli.upscale.progress import show_progress
from torch_sr.cli.upscale.report import Report
from torch_sr.errors import TorchSRError

if TYPE_CHECKING:
    from torch_sr.inference.files.batch import BatchOptions, Outcome
    from torch_sr.inference.files.jobs import Job
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.models.loading import ModelChoice

_TOO_LOW = 0.5  # part of the default strength


def upscale(
    images: options.Images,
    model: options.Model = None,
    strength: options.Strength = None,
    out: options.Out = None,
    scale: options.Scale = None,
    width: options.Width = None,
    height: options.Height = None,
    suffix: options.Suffix = "_sr",
    format: options.Format = None,  # noqa: A002
    quality: options.Quality = None,
    lossless: options.Lossless = False,
    crf: options.CRF = 16,
    codec: options.Codec = None,
    deinterlace: options.Deinterlace = True,
    skip_existing: options.SkipExisting = False,
    overwrite: options.Overwrite = False,
    part: options.Shard = None,
    damaged: options.Damaged = options.DamagedFiles.REFUSE,
    compare: options.Compare = False,
    as_json: AsJSON = False,
    quiet: options.Quiet = False,
    device: options.Devices = "auto",
    precision: options.Precision = "auto",
    tile_size: options.TileSize = None,
    overlap: options.Overlap = None,
    tta: options.TTA = False,
    max_pixels: options.MaxPixels = 500_000_000,
) -> None:
    """Super-resolve images and videos: photo.jpg becomes photo_sr.jpg.

    Gray, alpha, 16 bits, colour profile, EXIF and animation are kept.

    A file that fails is reported at the end, and the others are done.
    """
    _check_usage(scale, width, height, skip_existing, overwrite)
    _check_codec(codec)
    if out == "" or model == "":
        raise typer.BadParameter("--out and --model: the name is empty; leave the option out")
    number, count = _parse_shard(part)
    from torch_sr.images import WriteOptions
    from torch_sr.inference.files.batch import BatchOptions
    from torch_sr.inference.files.jobs import find_jobs, read_names, shard
    from torch_sr.inference.files.sizes import target_size
    from torch_sr.inference.files.survey import survey
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.models.loading import choose_model

    names = [name for argument in images for name in _expanded(argument, read_names)]
    findings = find_jobs(names, out, suffix=suffix, file_format=format, sheets=compare)
    choice = choose_model(model, strength)
    loaded = load_model(choice.model, choice.strength)
    upscalers = [
        Upscaler(
            loaded,
            device=name,
            precision=precision,
            tile_size=tile_size,
            overlap=overlap,
            tta=tta,
        )
        for name in device.split(",")
    ]
    how = BatchOptions(
        write=WriteOptions(format, quality, lossless),
        size=target_size(scale, width, height),
        existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        max_pixels=max_pixels,
        crf=crf,
        codec=codec,
        deinterlace=deinterlace,
        damaged=damaged.value,
    )
    jobs = list(survey(shard(findings.jobs, number, count), upscalers[0].scale_factor, how))
    report = Report(replace(findings, jobs=jobs), choice, as_json=as_json, quiet=quiet)
    _note_compression(report, jobs, how, choice)
    _run(upscalers, jobs, how, report, quiet=quiet)
    if report.failed:
        raise typer.Exit(1)


def _run(
    upscalers: Sequence[Upscaler],
    jobs: Sequence[Job],
    how: BatchOptions,
    report: Report,
    *,
    quiet: bool,
) -> None:
    """Do the files, and tell of each as it is done; the sums are told after an interrupt too."""
    from torch_sr.inference.files.batch import upscale_files

    try:
        with show_progress(jobs, quiet=quiet) as (on_tile, on_outcome):
            for outcome in upscale_files(upscalers, jobs, how, on_tile):
                outcome = _with_sheet(outcome, how.damaged)
                on_outcome(outcome)
                report.add(outcome)
    except KeyboardInterrupt:
        report.close()
        raise
    report.close(sum(upscaler.tiles_redone for upscaler in upscalers))


def _note_compression(
    report: Report, jobs: Sequence[Job], how: BatchOptions, choice: ModelChoice
) -> None:
    """Print one note if there are compressed photographs and the strength is too low for them."""
    from torch_sr.images import display_name
    from torch_sr.inference.files.survey import find_compressed
    from torch_sr.models.weights import find_pair

    pair, strength = find_pair(choice.model), choice.strength
    if pair is None or strength is None or strength >= pair.default_strength * _TOO_LOW:
        return
    if not (found := find_compressed(jobs, how)):
        return
    job, compression = found[0]
    which = f"{display_name(job.source)}: {compression}"
    if len(jobs) > 1:
        which = f"{len(found)} of {len(jobs)} files are visibly compressed ({which})"
    report.note(
        f"{which}; --strength {pair.default_strength:g} removes compression artifacts, which "
        f"{pair.faithful} sharpens at strength {strength:g}"
    )


def _with_sheet(outcome: Outcome, damaged: str) -> Outcome:
    """Draw the sheet that is asked for, unless it exists; a failure is the file's own."""
    job = outcome.job
    skipped = outcome.status == "skipped" and job.sheet is not None and job.sheet.exists()
    if job.sheet is None or outcome.status == "failed" or skipped:
        return outcome

    from torch_sr.evaluation.presentation.upscaled_sheet import draw_upscaled
    from torch_sr.images import Image, display_name, write_image

    try:
        write_image(job.sheet, Image(draw_upscaled(job.source, job.target, damaged=damaged)))
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
