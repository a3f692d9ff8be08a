"""``torch-sr upscale --ray``: process files on a cluster."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from torch_sr.cli.downloads import find_model
from torch_sr.cli.upscale.options import UpscaleOptions
from torch_sr.cli.upscale.progress import duration, short
from torch_sr.cluster.listing import Item, Listing
from torch_sr.cluster.places import is_url
from torch_sr.cluster.workers import WorkerSettings
from torch_sr.images import display_name
from torch_sr.inference.files.jobs import find_jobs
from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.loading import ModelChoice, choose_model
from torch_sr.models.weights import shipped_path
from torch_sr.models.zoo import open_model

_SECONDS_BETWEEN = 30.0  # between lines about the progress


def upscale_on_cluster(
    names: Sequence[str], options: UpscaleOptions, batch: BatchOptions, *, as_json: bool
) -> None:
    """Process all files on a Ray cluster.

    Args:
        names: files, folders, patterns and URLs.
        options: of the command.
        batch: how files are converted.
        as_json: print results as JSON.

    Raises:
        typer.Exit: with code 1 if a file failed.
        typer.BadParameter: for options that do not fit together.
    """
    from torch_sr.cluster.run import upscale_on_ray

    if options.shard is not None or options.compare:
        raise typer.BadParameter("--ray: leave out --shard and --compare")
    choice = choose_model(options.model, options.strength)
    settings = WorkerSettings(_upscaler_arguments(choice, options), batch)
    report = ClusterReport(as_json=as_json, quiet=options.quiet)
    try:
        for row in upscale_on_ray(_find_items(names, options, batch), settings, options.cluster):
            report.add(row)
    finally:
        report.close()
    if report.counts["failed"]:
        raise typer.Exit(1)


@dataclass
class ClusterReport:
    """Reports each file when it is finished, and totals for each worker; keeps no file.

    Args:
        as_json: print results as JSON.
        quiet: print only failures on stderr.
    """

    as_json: bool = False
    quiet: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _pixels: Counter[str] = field(default_factory=Counter)
    _start: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def add(self, row: dict[str, Any]) -> None:
        """Report a file."""
        self.counts[row["status"]] += 1
        if row["status"] == "done":
            self._pixels[row["worker"]] += row["pixels"]
        if self.as_json:
            print(json.dumps(row), flush=True)
        elif row["status"] == "done":
            print(row["target"], flush=True)
        if row["status"] == "failed":
            print(f"failed: {row['message']}", file=sys.stderr)
        for note in row.get("notes", ()):
            self._say(f"note: {display_name(row['source'])}: {note}")
        if time.monotonic() - self._said > _SECONDS_BETWEEN:
            self._said = time.monotonic()
            self._say(self._line())

    def close(self) -> None:
        """Print the totals."""
        self._say(self._line())
        seconds = time.monotonic() - self._start
        workers = {
            name: round(pixels / 1e6 / seconds, 6) for name, pixels in sorted(self._pixels.items())
        }
        for name, speed in workers.items():
            self._say(f"  {name}: {short(speed)} MP/s")
        if self.as_json:
            summary = {
                **{status: self.counts[status] for status in ("done", "skipped", "failed")},
                "megapixels": round(self._pixels.total() / 1e6, 6),
                "seconds": round(seconds, 3),
                "megapixels_per_second_by_worker": workers,
            }
            print(json.dumps({"summary": summary}), flush=True)

    def _line(self) -> str:
        seconds = time.monotonic() - self._start
        counts = ", ".join(f"{number:,} {status}" for status, number in self.counts.items())
        megapixels = self._pixels.total() / 1e6
        return (
            f"{counts or 'nothing done'}; {short(megapixels)} megapixels in {duration(seconds)}, "
            f"{short(megapixels / seconds)} MP/s, {len(self._pixels)} workers"
        )

    def _say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)


def _find_items(
    names: Sequence[str], options: UpscaleOptions, batch: BatchOptions
) -> Iterable[Item]:
    """URLs are listed while they are processed; paths are found as without a cluster.

    Raises:
        ImageError: there is nothing to process.
        typer.BadParameter: ``--out`` is missing.
    """
    file_format = batch.write.file_format
    if any(map(is_url, [*names, options.out or ""])):
        if options.out is None:
            raise typer.BadParameter("--out: name the folder or URL for the results")
        listing = Listing(
            tuple(map(_absolute, names)), _absolute(options.out), options.suffix, file_format
        )
        next(iter(listing))  # raises its error before the cluster is started
        return listing
    found = find_jobs(names, options.out, suffix=options.suffix, file_format=file_format)
    return [
        Item(str(job.source.absolute()), str(job.target.absolute()), refusal=job.refusal)
        for job in found.jobs
    ]


def _absolute(name: str) -> str:
    return name if is_url(name) else str(Path(name).absolute())


def _upscaler_arguments(choice: ModelChoice, options: UpscaleOptions) -> dict[str, Any]:
    """The arguments of the workers' upscalers; a model that does not ship is sent to them."""
    find_model(choice.model)  # downloads it, with progress
    how, cluster = options.compute, options.cluster
    model = choice.model if shipped_path(str(choice.model)) else open_model(choice.model)
    threads = how.threads or max(1, round(cluster.worker_cpus))
    return {
        "model": model,
        "strength": choice.strength,
        "device": how.device,
        "precision": how.precision,
        "engine": how.engine,
        "threads": threads,
        "tile_size": how.tile_size,
        "overlap": how.overlap,
        "tta": how.tta,
    }
