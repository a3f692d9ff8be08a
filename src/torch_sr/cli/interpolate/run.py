"""Write mixtures of networks, show and measure sweeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from torch_sr.cli.bars import download_progress
from torch_sr.cli.downloads import download_data, load_model
from torch_sr.cli.exits import describe_error, print_failure
from torch_sr.cli.interpolate.options import SweepOptions
from torch_sr.cli.measuring import measure
from torch_sr.data.sets.resolve import resolve
from torch_sr.data.sets.spec_syntax import split_specs
from torch_sr.devices import choose_device
from torch_sr.errors import ModelError, TorchSRError
from torch_sr.evaluation.averages import json_safe
from torch_sr.evaluation.labels import parse_named
from torch_sr.evaluation.methods import load_sweep
from torch_sr.evaluation.metric_choice import is_perceptual, require
from torch_sr.evaluation.metric_table import METRICS, MetricSettings
from torch_sr.evaluation.presentation.sweep import best_alpha, write_plane, write_strip
from torch_sr.evaluation.statistics import overall_means
from torch_sr.images import read_image
from torch_sr.models.files.writing import check_target
from torch_sr.models.interpolation import (
    check_weights,
    interpolate,
    mix,
    open_parents,
    parse_alphas,
    sweep_paths,
)
from torch_sr.models.model import Model
from torch_sr.models.saving import find_dtype

_RULE = "nearest to the best PSNR and the best {y} of the sweep, each scaled to [0, 1]"
_DEFAULT_PERCEPTION = "lpips"


def write_mixture(
    models: Sequence[str],
    weights: str | None,
    out: Path,
    *,
    dtype: str | None = None,
    as_json: bool = False,
) -> None:
    """Mix networks with given shares, and print the new file.

    Args:
        models: names or files, each also as ``LABEL=MODEL``.
        weights: the shares; None for equal shares.
        out: the new file.
        dtype: the dtype in the file.
        as_json: print JSON.

    Raises:
        typer.BadParameter: for shares that cannot be read.
    """
    stored_as = _torch_dtype(dtype)
    check_target(out)
    named = [parse_named(model) for model in models]
    labels = [model.label for model in named]
    for label in labels:
        if label is not None and labels.count(label) > 1:
            raise ModelError(f"choose another label: {label!r} is given to two models")
    shares = _parse_shares(weights, labels)
    check_weights(len(models), shares)
    loaded = [load_model(model.model) for model in named]
    mix(loaded, shares, names=labels).save(out, dtype=stored_as)
    print(json.dumps({"models": [str(out)]}) if as_json else out)


def write_sweep(
    models: Sequence[str],
    alpha: str,
    out: Path,
    sweep: SweepOptions,
    *,
    dtype: str | None = None,
    data_root: Path = Path("data"),
    download: bool = False,
    device: str = "auto",
    as_json: bool = False,
) -> None:
    """Interpolate two networks at one alpha or several, then show and measure the results.

    The written files are reported even if showing or measuring fails.

    Args:
        models: names or files of the two networks.
        alpha: a number, or a sweep such as ``0:1:0.1``.
        out: the new file; a sweep derives several names from it.
        sweep: what is shown and measured.
        dtype: the dtype in the file.
        data_root: folder of the data sets.
        download: download those that are missing.
        device: the device on which methods are shown and measured.
        as_json: print JSON.

    Raises:
        typer.BadParameter: for options that are wrong.
    """
    stored_as, on, alphas = _torch_dtype(dtype), str(choose_device(device)), parse_alphas(alpha)
    check_target(out)
    _check_sweep(sweep, alphas, out)
    first, second = open_parents([load_model(model) for model in models])
    setting = MetricSettings(first.scale_factor, device=on)
    specs = list(dict.fromkeys(split_specs(sweep.datasets or "", data_root)))
    if download:
        download_data(specs, data_root, setting.scale_factor, "test")
    for spec in specs:
        resolve(spec, data_root, setting.scale_factor, "test")  # before anything is written
    targets = sweep_paths(out, alphas) if len(alphas) > 1 else [out]
    for value, target in zip(alphas, targets, strict=True):
        interpolate(first, second, value).save(target, dtype=stored_as)
    found: dict[str, Any] = {"models": list(map(str, targets))}
    try:
        if sweep.preview is not None or specs:
            _show(sweep, (first, second), alphas, out, setting, specs, data_root, found)
    except TorchSRError as error:
        if as_json:  # one document with the written models and the error
            found |= describe_error(type(error).__name__, str(error), 1)
            print_failure(str(error))
        _print(found, as_json)
        if as_json:
            raise typer.Exit(1) from error
        raise
    _print(found, as_json)


def _check_sweep(sweep: SweepOptions, alphas: Sequence[float], out: Path) -> None:
    if sweep.preview is not None and sweep.preview.resolve() == _strip_file(out).resolve():
        raise typer.BadParameter(
            f"--preview {sweep.preview}: choose another OUT; its strip would replace this image"
        )
    if sweep.datasets is not None and not sweep.datasets.strip(" ,"):
        raise typer.BadParameter("--datasets: name at least one data set")
    if sweep.datasets is not None and len(alphas) < 3:
        raise typer.BadParameter(
            "--datasets needs a sweep of at least 3 networks, such as --alpha 0:1:0.1"
        )
    if sweep.datasets is None and sweep.perception is not None:
        raise typer.BadParameter("--perception needs --datasets to measure on")
    if sweep.datasets is None and sweep.preview is None and sweep.image_space:
        raise typer.BadParameter("--image-space needs --preview or --datasets to show")
    if sweep.perception is not None and not is_perceptual(sweep.perception):
        raise typer.BadParameter(
            f"--perception {sweep.perception}: choose a perceptual metric; this one measures "
            "distortion"
        )
    if sweep.preview is not None:
        read_image(sweep.preview)


def _show(
    sweep: SweepOptions,
    ends: tuple[Model, Model],
    alphas: Sequence[float],
    out: Path,
    setting: MetricSettings,
    specs: Sequence[str],
    data_root: Path,
    found: dict[str, Any],
) -> None:
    """Draw the strip, measure, draw the curve, and add the results to ``found``."""
    methods = load_sweep(*ends, alphas=alphas, image_space=sweep.image_space, device=setting.device)
    if sweep.preview is not None:
        strip = _strip_file(out)
        write_strip(strip, sweep.preview, methods, setting.scale_factor)
        found["preview"] = str(strip)
    if not specs:
        return
    perception = sweep.perception or _DEFAULT_PERCEPTION
    with download_progress() as progress:
        require(perception, replace(setting, on_download=progress), "--perception {}")
    scores = measure(methods, specs, ["psnr", "ssim", perception], setting, data_root)
    curve = out.with_name(f"{out.stem}_curve.png")
    points = write_plane(curve, methods, scores, perception)
    found |= {
        "curve": str(curve),
        "means": overall_means(scores),
        "best_alpha": best_alpha(points, perception),
        "rule": _RULE.format(y=METRICS[perception].title),
    }


def _strip_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}_preview.png")


def _torch_dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else find_dtype(name)


def _parse_shares(text: str | None, labels: Sequence[str | None]) -> list[float]:
    """Shares in the order of the models, given in that order or by label; equal by default."""
    if text is None:
        return [1 / len(labels)] * len(labels)
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    try:
        numbers = [float(number) for _, _, number in parts]
    except ValueError:
        raise typer.BadParameter(f"--weights {text}: write numbers, as 0.5,0.3,0.2") from None
    names = [name.strip() for name, equals, _ in parts if equals]
    if not names:
        return numbers
    if len(names) < len(parts) or sorted(names) != sorted(label or "" for label in labels):
        raise typer.BadParameter(
            f"--weights {text}: give every LABEL=MODEL one share by its label, or all shares in "
            "the order of the models"
        )
    by_name = dict(zip(names, numbers, strict=True))
    return [by_name[label or ""] for label in labels]


def _print(found: dict[str, Any], as_json: bool) -> None:
    """Print the measurements as a table, then the files, one per line, on stdout."""
    if as_json:
        print(json.dumps(json_safe(found), indent=2))
        return
    if "means" in found:
        _print_means(found["means"])
        best = found["best_alpha"]
        shown = "none, no mean is finite" if best is None else f"{best:g} ({found['rule']})"
        print(f"best alpha: {shown}")
    for path in (*found["models"], found.get("preview"), found.get("curve")):
        if path is not None:
            print(path)


def _print_means(means: dict[str, dict[str, float]]) -> None:
    metrics = list(next(iter(means.values())))
    table = Table("", *metrics)
    for method, values in means.items():
        table.add_row(method, *(f"{values[metric]:.4f}" for metric in metrics))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
