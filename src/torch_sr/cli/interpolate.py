"""``torch-sr interpolate``: networks between a PSNR-driven and a GAN-driven one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.console import AsJSON, DataRoot, Device, Download, find_model

if TYPE_CHECKING:
    import torch

    from torch_sr.evaluation.evaluate import ImageScore, SuperResolve

_SWEEP = "Looking for an alpha"
_SOUP = "More than two networks"
_RULE = "nearest to the best PSNR and the best {y} of the sweep, each scaled to [0, 1]"


def interpolate(
    out: Annotated[Path, typer.Argument(help="The new weights file (.safetensors or .pth).")],
    psnr_model_path: Annotated[
        str | None,
        typer.Option("--psnr-model-path", help="PSNR-driven model (pre-training), file or name."),
    ] = None,
    esrgan_model_path: Annotated[
        str | None,
        typer.Option("--esrgan-model-path", help="GAN-driven model (training), file or name."),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            "--alpha",
            help="0 is the PSNR model, 1 the GAN model; 0:1:0.1 writes a sweep: OUT_0, OUT_0.1 …",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="fp32, fp16 or bf16, to store. \\[default: fp32]")
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview",
            help="A picture: draw its busiest place over alpha, OUT_preview.png.",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(
            "--datasets",
            "-d",
            help="Measure the sweep on these, as set5,set14: draw OUT_curve.png, name the best.",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    perception: Annotated[
        str,
        typer.Option(
            "--perception",
            help="What to weigh against PSNR: lpips, dists, niqe, brisque or perceptual_loss.",
            rich_help_panel=_SWEEP,
        ),
    ] = "lpips",
    image_space: Annotated[
        bool,
        typer.Option(
            "--image-space",
            help="Show what mixing the two networks' pictures would give, beside it.",
            rich_help_panel=_SWEEP,
        ),
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Each network of a soup.", rich_help_panel=_SOUP),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="Their shares, as 0.5,0.3,0.2. \\[default: equal]",
            rich_help_panel=_SOUP,
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    device: Device = "auto",
    as_json: AsJSON = False,
) -> None:
    """Interpolate the weights of two networks: (1 - alpha) * PSNR + alpha * GAN."""
    ends = _ends(psnr_model_path, esrgan_model_path, alpha, model)
    if ends is None:
        _write_soup(model or [], weights, out, dtype)
        print(json.dumps({"models": [str(out)]}) if as_json else out)
        return
    from torch_sr.models.interpolation import parse_alphas, sweep_path, write_mixture

    alphas = parse_alphas(alpha or "")
    _check_usage(alphas, datasets)
    psnr, esrgan = (find_model(end) for end in ends)
    found: dict[str, Any] = {}
    if preview is not None or datasets is not None:  # before the models: they may replace a parent
        from torch_sr.evaluation.methods import load_sweep

        factor, methods = load_sweep(psnr, esrgan, alphas, image_space=image_space, device=device)
        if datasets is not None:
            curve = out.with_name(f"{out.stem}_curve.png")
            scores = _measure(methods, factor, datasets, perception, data_root, download, device)
            found |= _draw_curve(curve, scores, perception)
        if preview is not None:
            strip = out.with_name(f"{out.stem}_preview.png")
            _draw_strip(strip, preview, methods)
            found["preview"] = str(strip)
    targets = [sweep_path(out, value) for value in alphas] if len(alphas) > 1 else [out]
    for value, target in zip(alphas, targets, strict=True):
        shares = [1.0 - value, value]
        write_mixture([psnr, esrgan], shares, target, alpha=value, dtype=_torch_dtype(dtype))
    found = {"models": list(map(str, targets)), **found}
    print(json.dumps(found, indent=2)) if as_json else _print(found)


def _ends(
    psnr: str | None, esrgan: str | None, alpha: str | None, models: list[str] | None
) -> tuple[str, str] | None:
    """The two networks of an interpolation; None for a soup."""
    if models:
        if psnr or esrgan or alpha:
            raise typer.BadParameter("--model makes a soup; leave out --alpha and its two models")
        return None
    for option, value in (
        ("--psnr-model-path", psnr),
        ("--esrgan-model-path", esrgan),
        ("--alpha", alpha),
    ):
        if value is None:
            raise typer.BadParameter(f"{option} is missing")
    assert psnr is not None and esrgan is not None
    return psnr, esrgan


def _check_usage(alphas: Sequence[float], datasets: str | None) -> None:
    if datasets is not None and len(alphas) < 3:
        raise typer.BadParameter("--datasets needs a sweep of three networks, as --alpha 0:1:0.1")
    if datasets is not None and not datasets.strip(" ,"):
        raise typer.BadParameter("--datasets names none")


def _write_soup(models: list[str], weights: str | None, out: Path, dtype: str | None) -> None:
    from torch_sr.models.interpolation import write_mixture

    try:
        shares = [float(part) for part in weights.split(",")] if weights else None
    except ValueError:
        raise typer.BadParameter(f"--weights {weights}: write numbers, as 0.5,0.3,0.2") from None
    paths = [find_model(model) for model in models]
    equal = [1 / len(paths)] * len(paths)
    write_mixture(paths, shares or equal, out, dtype=_torch_dtype(dtype))


def _torch_dtype(name: str | None) -> torch.dtype | None:
    from torch_sr.models.conversion import find_dtype

    return None if name is None else find_dtype(name)


def _draw_strip(out: Path, image: Path, methods: dict[str, SuperResolve]) -> None:
    """A row of the networks, and one of the mixed pictures where there are any."""
    from torch_sr.evaluation.figures import draw_strip
    from torch_sr.evaluation.run import store_image
    from torch_sr.images import read_image

    rows = [
        {n: m for n, m in methods.items() if n.startswith(kind)} for kind in ("alpha", "images")
    ]
    store_image(out, draw_strip(read_image(image).to_array(), [row for row in rows if row]))


def _measure(
    methods: dict[str, SuperResolve],
    scale_factor: int,
    datasets: str,
    perception: str,
    data_root: Path,
    download: bool,
    device: str,
) -> list[ImageScore]:
    from torch_sr.cli.test import measure, perceptual_of
    from torch_sr.devices import choose_device
    from torch_sr.evaluation.measures import Setting

    metrics = ["psnr", "ssim", perception]
    if perceptual_of([perception]) is None:
        raise typer.BadParameter(f"--perception {perception}: that is a measure of distortion")
    specs = [spec.strip() for spec in datasets.split(",") if spec.strip()]
    setting = Setting(scale_factor, device=str(choose_device(device)))
    return measure(methods, specs, metrics, setting, data_root, download, [])


def _draw_curve(out: Path, scores: Sequence[ImageScore], perception: str) -> dict[str, Any]:
    """Draw the sweep on the plane of distortion and perception; name its best alpha."""
    from torch_sr.cli.test import plane_points, write_plane
    from torch_sr.evaluation.measures import MEASURES
    from torch_sr.evaluation.plane import nearest_to_ideal
    from torch_sr.evaluation.run import overall_means

    write_plane(out, scores, ["psnr", perception])
    row = MEASURES[perception]
    points = [point for point in plane_points(scores, perception) if point.group == "alpha"]
    best = nearest_to_ideal(points, lower_is_better_y=not row.higher_is_better)
    return {
        "curve": str(out),
        "means": overall_means(scores),
        "best_alpha": None if best is None else float(best.method.removeprefix("alpha ")),
        "rule": _RULE.format(y=row.title),
    }


def _print(found: dict[str, Any]) -> None:
    """Files on stdout, a line each; what was measured in a table before them."""
    if "means" in found:
        from rich.console import Console
        from rich.table import Table

        means: dict[str, dict[str, float]] = found["means"]
        metrics = list(next(iter(means.values())))
        table = Table("", *metrics)
        for method, values in means.items():
            table.add_row(method, *(f"{values[metric]:.4f}" for metric in metrics))
        Console(width=None if sys.stdout.isatty() else 120).print(table)
        print(f"best alpha: {found['best_alpha']:g} ({found['rule']})")
    for path in (*found["models"], found.get("preview"), found.get("curve")):
        if path is not None:
            print(path)
