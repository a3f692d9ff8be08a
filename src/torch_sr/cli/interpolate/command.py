"""``torch-sr interpolate``: networks between a PSNR-driven and a GAN-driven one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.downloads import download_data, load_model
from torch_sr.cli.exits import describe_error, print_failure
from torch_sr.cli.options import AsJSON, DataRoot, Device, Download

if TYPE_CHECKING:
    import torch

    from torch_sr.evaluation.compare import ImageScore
    from torch_sr.evaluation.method import Method
    from torch_sr.evaluation.metric_table import MetricSettings
    from torch_sr.models.model import Model

_SWEEP = "Looking for an alpha"
_SOUP = "More than two networks"
_RULE = "nearest to the best PSNR and the best {y} of the sweep, each scaled to [0, 1]"
_DEFAULT_PERCEPTION = "lpips"

Out = Annotated[Path, typer.Argument(help="The new weights file (.safetensors, .pth or .param).")]
PSNRModel = Annotated[
    str | None,
    typer.Option("--psnr-model-path", help="PSNR-driven model (pre-training), file or name."),
]
ESRGANModel = Annotated[
    str | None,
    typer.Option("--esrgan-model-path", help="GAN-driven model (training), file or name."),
]
Alpha = Annotated[
    str | None,
    typer.Option(
        "--alpha",
        help="0 is the PSNR model, 1 the GAN model; 0:1:0.1 writes a sweep: OUT_0, OUT_0.1 …",
    ),
]
DType = Annotated[
    str | None, typer.Option("--dtype", help="fp32, fp16 or bf16, to store. \\[default: fp32]")
]
Preview = Annotated[
    Path | None,
    typer.Option(
        "--preview",
        help="A picture: draw its busiest place over alpha, OUT_preview.png.",
        rich_help_panel=_SWEEP,
    ),
]
Datasets = Annotated[
    str | None,
    typer.Option(
        "--datasets",
        "-d",
        help="Measure the sweep on these, as set5,set14: draw OUT_curve.png, name the best.",
        rich_help_panel=_SWEEP,
    ),
]
Perception = Annotated[
    str | None,
    typer.Option(
        "--perception",
        help="What to weigh against PSNR: lpips, dists, niqe, brisque or perceptual_loss. "
        "\\[default: lpips]",
        rich_help_panel=_SWEEP,
    ),
]
ImageSpace = Annotated[
    bool,
    typer.Option(
        "--image-space",
        help="Show what mixing the two networks' pictures would give, beside it.",
        rich_help_panel=_SWEEP,
    ),
]
SoupModels = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Each network of a soup; LABEL=MODEL names it.",
        rich_help_panel=_SOUP,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Their shares, as 0.5,0.3,0.2, or by label, as a=0.8,b=0.2. \\[default: equal]",
        rich_help_panel=_SOUP,
    ),
]


def interpolate(
    out: Out,
    psnr_model_path: PSNRModel = None,
    esrgan_model_path: ESRGANModel = None,
    alpha: Alpha = None,
    dtype: DType = None,
    preview: Preview = None,
    datasets: Datasets = None,
    perception: Perception = None,
    image_space: ImageSpace = False,
    model: SoupModels = None,
    weights: Weights = None,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    device: Device = "auto",
    as_json: AsJSON = False,
) -> None:
    """Interpolate the weights of two networks: (1 - alpha) * PSNR + alpha * GAN."""
    from torch_sr.devices import choose_device
    from torch_sr.models.files.writing import check_target

    stored_as = _torch_dtype(dtype)
    on = str(choose_device(device))
    check_target(out)
    if model:
        _refuse(
            "--model makes a soup, of any networks by --weights",
            {
                "--psnr-model-path": psnr_model_path,
                "--esrgan-model-path": esrgan_model_path,
                "--alpha": alpha,
                "--preview": preview,
                "--datasets": datasets,
                "--perception": perception,
                "--image-space": image_space,
            },
        )
        _write_soup(model, weights, out, stored_as)
        print(json.dumps({"models": [str(out)]}) if as_json else out)
        return
    from torch_sr.data.sets.spec_syntax import split_specs

    _refuse("--weights is for the networks of --model", {"--weights": weights})
    ends, alphas = _required(psnr_model_path, esrgan_model_path, alpha)
    if preview is not None and preview.resolve() == _strip_of(out).resolve():
        raise typer.BadParameter(f"--preview {preview}: choose another OUT; its strip is this file")
    _check_looks(alphas, preview, datasets, perception, image_space)
    specs = list(dict.fromkeys(split_specs(datasets or "", data_root)))
    plan = _Plan(alphas, preview, specs, perception or _DEFAULT_PERCEPTION, image_space)
    _write_sweep(plan, ends, out, stored_as, data_root, download, on, as_json)


@dataclass(frozen=True)
class _Plan:
    """What is made of two networks, and how it is looked at."""

    alphas: list[float]
    preview: Path | None
    specs: list[str]
    perception: str
    image_space: bool

    @property
    def looks(self) -> bool:
        """Whether the networks are run at all."""
        return self.preview is not None or bool(self.specs)


# --- Checks before the work -----------------------------------------------------------------------


def _refuse(reason: str, options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"leave out {', '.join(given)}: {reason}")


def _required(
    psnr: str | None, esrgan: str | None, alpha: str | None
) -> tuple[tuple[str, str], list[float]]:
    """The two networks of an interpolation, and its alphas."""
    from torch_sr.models.interpolation import parse_alphas

    for option, value in (
        ("--psnr-model-path", psnr),
        ("--esrgan-model-path", esrgan),
        ("--alpha", alpha),
    ):
        if value is None:
            raise typer.BadParameter(f"{option} is missing")
    assert psnr is not None and esrgan is not None and alpha is not None
    return (psnr, esrgan), parse_alphas(alpha)


def _check_looks(
    alphas: Sequence[float],
    preview: Path | None,
    datasets: str | None,
    perception: str | None,
    image_space: bool,
) -> None:
    from torch_sr.evaluation.metric_choice import is_perceptual
    from torch_sr.images import read_image

    if datasets is not None and not datasets.strip(" ,"):
        raise typer.BadParameter("--datasets names none")
    if datasets is not None and len(alphas) < 3:
        raise typer.BadParameter("--datasets needs a sweep of three networks, as --alpha 0:1:0.1")
    if datasets is None and perception is not None:
        raise typer.BadParameter("--perception needs --datasets to measure on")
    if datasets is None and preview is None and image_space:
        raise typer.BadParameter("--image-space needs --preview or --datasets to show")
    if perception is not None and not is_perceptual(perception):
        raise typer.BadParameter(f"--perception {perception}: that is a measure of distortion")
    if preview is not None:
        read_image(preview)


def _check_datasets(specs: Sequence[str], data_root: Path, scale_factor: int) -> None:
    """Find the images of every data set."""
    from torch_sr.data.sets.resolve import resolve

    for spec in specs:
        resolve(spec, data_root, scale_factor, "test")


# --- The work -------------------------------------------------------------------------------------


def _write_sweep(
    plan: _Plan,
    ends: tuple[str, str],
    out: Path,
    dtype: torch.dtype | None,
    data_root: Path,
    download: bool,
    device: str,
    as_json: bool,
) -> None:
    """Write the networks, then look at them; what was written is reported even if that fails."""
    from torch_sr.errors import TorchSRError
    from torch_sr.evaluation.metric_table import MetricSettings
    from torch_sr.models.interpolation import interpolate as mix_ends
    from torch_sr.models.interpolation import open_parents, sweep_paths

    psnr, esrgan = parents = open_parents([load_model(end) for end in ends])
    setting = MetricSettings(parents[0].scale_factor, device=device)
    if download:
        download_data(plan.specs, data_root, setting.scale_factor, "test")
    _check_datasets(plan.specs, data_root, setting.scale_factor)
    targets = sweep_paths(out, plan.alphas) if len(plan.alphas) > 1 else [out]
    for value, target in zip(plan.alphas, targets, strict=True):
        mix_ends(psnr, esrgan, value).save(target, dtype=dtype)
    found: dict[str, Any] = {"models": list(map(str, targets))}
    try:
        if plan.looks:
            _look(plan, parents, out, setting, data_root, found)
    except TorchSRError as error:
        if as_json:  # one document: the models are there, and what failed
            found |= describe_error(type(error).__name__, str(error), 1)
            print_failure(str(error))
        _print(found, as_json)
        if as_json:
            raise typer.Exit(1) from error
        raise
    _print(found, as_json)


def _look(
    plan: _Plan,
    parents: Sequence[Model],
    out: Path,
    setting: MetricSettings,
    data_root: Path,
    found: dict[str, Any],
) -> None:
    """Draw the strip and the curve, and add them to what was found."""
    from torch_sr.evaluation.methods import load_sweep

    psnr, esrgan = parents
    methods = load_sweep(
        psnr, esrgan, alphas=plan.alphas, image_space=plan.image_space, device=setting.device
    )
    if plan.preview is not None:
        strip = _strip_of(out)
        _draw_strip(strip, plan.preview, methods, setting.scale_factor)
        found["preview"] = str(strip)
    if plan.specs:
        scores = _measure(methods, plan, setting, data_root)
        found |= _draw_curve(out.with_name(f"{out.stem}_curve.png"), methods, scores, plan)


def _write_soup(
    models: list[str], weights: str | None, out: Path, dtype: torch.dtype | None
) -> None:
    from torch_sr.errors import ModelError
    from torch_sr.evaluation.labels import parse_named
    from torch_sr.models.interpolation import check_weights, mix

    named = [parse_named(model) for model in models]
    labels = [model.label for model in named]
    for label in labels:
        if label is not None and labels.count(label) > 1:
            raise ModelError(f"choose another label: {label!r} is given to two models")
    shares = _shares(weights, labels)
    check_weights(len(models), shares)
    loaded = [load_model(model.model) for model in named]
    mix(loaded, shares, names=labels).save(out, dtype=dtype)


def _shares(text: str | None, labels: Sequence[str | None]) -> list[float]:
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


def _torch_dtype(name: str | None) -> torch.dtype | None:
    from torch_sr.models.saving import find_dtype

    return None if name is None else find_dtype(name)


def _strip_of(out: Path) -> Path:
    """The file of the strip of ``--preview``."""
    return out.with_name(f"{out.stem}_preview.png")


def _draw_strip(out: Path, image: Path, methods: Sequence[Method], scale_factor: int) -> None:
    """A row of the networks, and one of the mixed pictures where there are any."""
    from torch_sr.evaluation.presentation.strips import draw_strip
    from torch_sr.evaluation.store import store_image
    from torch_sr.images import read_image

    groups = list(dict.fromkeys(method.group for method in methods))
    rows = [[method for method in methods if method.group == group] for group in groups]
    store_image(out, draw_strip(read_image(image).to_array(), rows, scale_factor))


def _measure(
    methods: Sequence[Method], plan: _Plan, setting: MetricSettings, data_root: Path
) -> list[ImageScore]:
    from torch_sr.cli.test.command import measure
    from torch_sr.evaluation.metric_choice import require

    require(plan.perception, setting, "--perception {}")
    metrics = ["psnr", "ssim", plan.perception]
    return measure(methods, plan.specs, metrics, setting, data_root, False, [])


def _draw_curve(
    out: Path, methods: Sequence[Method], scores: Sequence[ImageScore], plan: _Plan
) -> dict[str, Any]:
    """Draw the sweep on the plane of distortion and perception; name its best alpha."""
    from torch_sr.evaluation.metric_table import METRICS
    from torch_sr.evaluation.presentation.perception_distortion import (
        draw_means,
        nearest_to_ideal,
        plane_points,
    )
    from torch_sr.evaluation.statistics import overall_means
    from torch_sr.evaluation.store import store_image

    means = overall_means(scores)
    points = plane_points(methods, means, plan.perception)
    store_image(out, draw_means(points, plan.perception))
    row = METRICS[plan.perception]
    networks = [point for point in points if point.group == "networks"]
    best = nearest_to_ideal(networks, lower_is_better_y=not row.higher_is_better)
    return {
        "curve": str(out),
        "means": means,
        "best_alpha": None if best is None else best.alpha,
        "rule": _RULE.format(y=row.title),
    }


# --- The result -----------------------------------------------------------------------------------


def _print(found: dict[str, Any], as_json: bool) -> None:
    """Files on stdout, a line each; what was measured in a table before them."""
    from torch_sr.evaluation.averages import json_safe

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
    from rich.console import Console
    from rich.table import Table

    metrics = list(next(iter(means.values())))
    table = Table("", *metrics)
    for method, values in means.items():
        table.add_row(method, *(f"{values[metric]:.4f}" for metric in metrics))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
