"""Super-resolve the files that the command line names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import typer

from torch_sr.cli.downloads import find_model
from torch_sr.cli.upscale.options import UpscaleOptions
from torch_sr.cli.upscale.progress import show_progress
from torch_sr.cli.upscale.report import Report
from torch_sr.cluster.places import is_url
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.images import display_name
from torch_sr.inference.files.batch import Outcome, upscale_files
from torch_sr.inference.files.jobs import Job, find_jobs, read_names, shard
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.sizes import target_size
from torch_sr.inference.files.survey import find_compressed, survey
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.loading import ModelChoice, choose_model
from torch_sr.models.weights import find_pair

_TOO_LOW = 0.5  # relative to the default strength


def upscale_all(images: Sequence[str], options: UpscaleOptions, *, as_json: bool = False) -> None:
    """Process all files.

    Args:
        images: files, folders, patterns, or ``-`` for names on standard input.
        options: the options of the command.
        as_json: print results as JSON.

    Raises:
        typer.Exit: with code 1 if a file failed.
        typer.BadParameter: for options that are wrong.
    """
    batch = _batch_options(options)
    number, count = _parse_shard(options.shard)
    names = [name for argument in images for name in _expand(argument)]
    if options.cluster.address is not None:
        from torch_sr.cli.upscale.cluster import upscale_on_cluster

        upscale_on_cluster(names, options, batch, as_json=as_json)
        return
    if options.cluster != ClusterSettings():
        raise typer.BadParameter("--ray-workers, --ray-cpus and --ray-gpus need --ray")
    if urls := [name for name in names if is_url(name)]:
        raise typer.BadParameter(f"{urls[0]}: URLs need --ray; --ray local uses this machine only")
    findings = find_jobs(
        names,
        options.out,
        suffix=options.suffix,
        file_format=batch.write.file_format,
        sheets=options.compare,
    )
    choice = choose_model(options.model, options.strength)
    upscalers = _make_upscalers(choice, options)
    jobs = list(survey(shard(findings.jobs, number, count), upscalers[0].scale_factor, batch))
    report = Report(replace(findings, jobs=jobs), choice, as_json=as_json, quiet=options.quiet)
    _note_compression(report, jobs, batch, choice)
    _run(upscalers, jobs, batch, report, quiet=options.quiet)
    if report.failed:
        raise typer.Exit(1)


def _batch_options(options: UpscaleOptions) -> BatchOptions:
    if options.batch.codec is not None:
        _check_codec(options.batch.codec)
    return replace(
        options.batch,
        size=target_size(options.scale, options.width, options.height),
        existing=_existing(options),
    )


def _check_codec(name: str) -> None:
    from torch_sr.inference.video.codecs import CODECS

    if name not in CODECS:
        raise typer.BadParameter(f"--codec {name}: use one of {', '.join(CODECS)}")


def _existing(options: UpscaleOptions) -> Literal["refuse", "skip", "overwrite"]:
    if options.overwrite:
        return "overwrite"
    return "skip" if options.skip_existing else "refuse"


def _make_upscalers(choice: ModelChoice, options: UpscaleOptions) -> list[Upscaler]:
    """An upscaler for each device."""
    how = options.compute
    find_model(choice.model)  # downloads it, with progress
    return [
        Upscaler(
            choice.model,  # by name, because the overlap of shipped models is recorded
            strength=choice.strength,
            device=device,
            precision=how.precision,
            engine=how.engine,
            threads=how.threads,
            tile_size=how.tile_size,
            overlap=how.overlap,
            tta=how.tta,
        )
        for device in how.device.split(",")
    ]


def _run(
    upscalers: Sequence[Upscaler],
    jobs: Sequence[Job],
    batch: BatchOptions,
    report: Report,
    *,
    quiet: bool,
) -> None:
    """Process the files, and report each when finished; totals even after an interrupt."""
    try:
        with show_progress(jobs, quiet=quiet) as (on_tile, on_outcome):
            for outcome in upscale_files(upscalers, jobs, batch, on_tile):
                if outcome.job.sheet is not None:
                    outcome = _with_sheet(outcome, damaged=batch.damaged)
                on_outcome(outcome)
                report.add(outcome)
    except KeyboardInterrupt:
        report.close()
        raise
    report.close(sum(upscaler.tiles_redone for upscaler in upscalers))


def _with_sheet(outcome: Outcome, *, damaged: str) -> Outcome:
    """Draw the sheet of a file; the drawing code is imported only if it is needed."""
    from torch_sr.evaluation.presentation.batch_sheets import add_sheet

    return add_sheet(outcome, damaged=damaged)


def _note_compression(
    report: Report, jobs: Sequence[Job], batch: BatchOptions, choice: ModelChoice
) -> None:
    """Print a note if there are compressed photographs and the strength is too low for them."""
    pair, strength = find_pair(choice.model), choice.strength
    if pair is None or strength is None or strength >= pair.default_strength * _TOO_LOW:
        return
    if not (found := find_compressed(jobs, batch)):
        return
    job, compression = found[0]
    which = f"{display_name(job.source)}: {compression}"
    if len(jobs) > 1:
        which = f"{len(found)} of {len(jobs)} files are visibly compressed ({which})"
    report.note(
        f"{which}; --strength {pair.default_strength:g} removes compression artifacts, which "
        f"{pair.faithful} sharpens at strength {strength:g}"
    )


def _expand(argument: str) -> list[str]:
    """The names that an argument stands for: itself, or the names on standard input."""
    if argument != "-":
        return [argument]
    if sys.stdin is None:
        raise typer.BadParameter(
            "-: standard input is closed; give names, or a list through a pipe"
        )
    # Read as bytes, because names may be invalid text or contain line separators.
    return read_names([os.fsdecode(sys.stdin.buffer.read())])


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"--shard {text}: write I/N with I from 1 to N, as 2/4")
    return int(match[1]), int(match[2])
