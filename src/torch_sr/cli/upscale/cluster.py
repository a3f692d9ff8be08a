"""``torch-sr upscale --ray``: process files on a cluster."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from torch_sr.cli.downloads import find_model
from torch_sr.cli.upscale.cluster_report import ClusterReport, show_cluster_progress
from torch_sr.cli.upscale.options import UpscaleOptions
from torch_sr.cluster.listing import Item, Listing
from torch_sr.cluster.places import is_url
from torch_sr.cluster.workers import WorkerSettings
from torch_sr.files import expand_home
from torch_sr.inference.files.jobs import find_jobs
from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.loading import ModelChoice, choose_model
from torch_sr.models.weights import shipped_path
from torch_sr.models.zoo import open_model


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
    if set(",:") & set(options.compute.device):
        raise typer.BadParameter(
            "--ray: leave out the numbers of devices; --ray-gpus gives each worker its own"
        )
    choice = choose_model(options.model, options.strength)
    settings = WorkerSettings(_upscaler_arguments(choice, options), batch)
    items = _find_items(names, options, batch)
    total = len(items) if isinstance(items, list) else None
    report = ClusterReport(choice, total, as_json=as_json, quiet=options.quiet)
    if total != 0:
        _report_all(report, total, upscale_on_ray(items, settings, options.cluster), options.quiet)
    report.close()
    if report.failed:
        raise typer.Exit(1)


def _report_all(
    report: ClusterReport, total: int | None, rows: Iterable[dict[str, Any]], quiet: bool
) -> None:
    """Report files as they are finished; totals even after an interrupt."""
    try:
        with show_cluster_progress(report, total, quiet=quiet) as show:
            for row in rows:
                report.add(row)
                show()
    except BaseException:
        if report.files:
            report.close()
        raise


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
        for name in [*names, options.out or ""]:
            _check(name)
        if options.out is None:
            raise typer.BadParameter("--out: name the folder or URL for the results")
        listing = Listing(
            tuple(map(_absolute, names)), _absolute(options.out), options.suffix, file_format
        )
        next(iter(listing))  # raises its error before the cluster is started
        return listing
    found = find_jobs(names, options.out, suffix=options.suffix, file_format=file_format)
    return [
        Item(_absolute(job.source), _absolute(job.target), _num_bytes(job.source), job.refusal)
        for job in found.jobs
    ]


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reading it will fail too, and say why
        return 0


def _check(name: str) -> None:
    """Refuse a URL with a password, because URLs are printed, and patterns next to URLs."""
    if not is_url(name):
        if glob.has_magic(name) and not Path(name).exists():
            raise typer.BadParameter(f"{name}: patterns need a local --out, and no URLs")
        return
    parts = urlsplit(name)
    if parts.password is not None:
        shown = f"{parts.scheme}://...@{parts.hostname}{parts.path}"
        raise typer.BadParameter(
            f"{shown}: a password in a URL would be in all reports; give it in environment "
            "variables or the configuration of the store"
        )


def _absolute(name: str | Path) -> str:
    """A path that is valid on all machines; a slash at the end remains."""
    if is_url(str(name)):
        return str(name)
    slash = os.sep if str(name).endswith(os.sep) else ""
    return f"{expand_home(name).absolute()}{slash}"


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
