"""``torch-sr test``: measure models on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.console import (
    AsJSON,
    DataRoot,
    Device,
    Precision,
    cache_progress,
    progress_bar,
)

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import Array, ImageScore

BASELINE = "bicubic"


def test(
    models: Annotated[
        list[str], typer.Argument(help="Weights files or names of shipped models, of one factor.")
    ],
    datasets: Annotated[
        str, typer.Option("--datasets", "-d", help="Separated by commas: set5,set14,bsds500,div2k.")
    ] = "set5,set14",
    data_root: DataRoot = Path("data"),
    protocol: Annotated[
        str,
        typer.Option(
            help="paper (luma, border cropped, 8 bit), rgb, or enhanced-srgan (gray, nothing "
            "cropped or rounded)."
        ),
    ] = "paper",
    per_image: Annotated[bool, typer.Option("--per-image", help="List every image.")] = False,
    show_results: Annotated[
        int, typer.Option("--show-results", "-s", min=0, help="List the N images of best PSNR.")
    ] = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out-dir", "-o", help="Store the models' results here, as PNG."),
    ] = None,
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Measure PSNR and SSIM of models on data sets, beside bicubic."""
    from torch_sr.evaluation.evaluate import best_scores, interval_scores, mean_scores
    from torch_sr.metrics import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r}: there are {', '.join(PROTOCOLS)}")
    specs = [spec.strip() for spec in datasets.split(",") if spec.strip()]
    if not specs:
        raise typer.BadParameter("--datasets names none")
    scores = measure_models(
        models,
        specs,
        data_root=data_root,
        protocol=protocol,
        out_dir=out_dir,
        device=device,
        precision=precision,
    )
    means = mean_scores(scores)
    best = best_scores([score for score in scores if score.method != BASELINE], show_results)
    if as_json:
        result = {
            "protocol": protocol,
            "mean": means,
            "interval": interval_scores(scores),
            "images": [asdict(score) for score in scores],
            "best": [asdict(score) for score in best],
        }
        print(json.dumps(_without_infinity(result), indent=2, allow_nan=False))
    else:
        print_tables(means, interval_scores(scores), scores if per_image else [], protocol)
        print_best(best, out_dir, several=len(models) > 1)


def measure_models(
    models: list[str],
    specs: list[str],
    *,
    data_root: Path,
    protocol: str,
    out_dir: Path | None,
    device: str,
    precision: str,
) -> list[ImageScore]:
    """Scores of bicubic and the models for every image of the data sets.

    Args:
        models: weights files or names of shipped models.
        specs: data sets; see :func:`torch_sr.data.open.open_pairs`.
        data_root: where they lie.
        protocol: a key of :data:`torch_sr.metrics.PROTOCOLS`.
        out_dir: where the models' results are stored, see :func:`result_path`; None stores none.
        device, precision: see :class:`torch_sr.inference.upscaler.Upscaler`.

    Raises:
        ModelError: when the models have several factors.
    """
    from torch_sr.data.open import open_pairs
    from torch_sr.evaluation.evaluate import bicubic, evaluate
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.metrics import PROTOCOLS

    upscalers = [Upscaler(model, device=device, precision=precision) for model in models]
    scale_factor = common_factor(models, [upscaler.scale_factor for upscaler in upscalers])
    methods = {BASELINE: bicubic(scale_factor)}
    for model, upscaler in zip(models, upscalers, strict=True):
        assert upscaler.info is not None  # it has been given a model and no engine
        name = upscaler.info.name
        methods[model if name in methods else name] = upscaler.upscale

    def store(dataset: str, image: str, method: str, sr: Array) -> None:
        if out_dir is not None and method != BASELINE:
            store_result(result_path(out_dir, image, method if len(models) > 1 else None), sr)

    scores: list[ImageScore] = []
    for spec in specs:
        with cache_progress() as tell:
            pairs = open_pairs(
                [spec],
                data_root=data_root,
                scale_factor=scale_factor,
                purpose="test",
                progress=tell,
            )
        with progress_bar("images") as progress:
            task = progress.add_task(spec, total=len(pairs))
            for score in evaluate(methods, spec, pairs, PROTOCOLS[protocol], store):
                scores.append(score)
                progress.update(task, advance=1 / len(methods))
    return scores


def common_factor(models: list[str], factors: list[int]) -> int:
    """The one factor of all models.

    Raises:
        ModelError: when they have several.
    """
    from torch_sr.errors import ModelError

    if len(set(factors)) > 1:
        named = ", ".join(f"{m} x{factor}" for m, factor in zip(models, factors, strict=True))
        raise ModelError(f"{named}: only models of one factor can be compared")
    return factors[0]


def result_path(out_dir: Path, image: str, method: str | None) -> Path:
    """Where the result for ``set5/baby`` is stored: ``out_dir/set5/baby_sr.png``.

    With several models, each has a folder of its own: ``out_dir/compact-x4/set5/baby_sr.png``.
    """
    folder = out_dir if method is None else out_dir / re.sub(r"[\\/:]+", "_", method)
    return folder / f"{image}_sr.png"


def store_result(path: Path, sr: Array) -> None:
    """Write a result, making its folder.

    Raises:
        ImageError: when that cannot be done.
    """
    from torch_sr.errors import ImageError
    from torch_sr.images import Image, write_image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{path.parent}: cannot make this folder: {error.strerror}") from error
    write_image(path, Image.from_array(sr))


def print_tables(
    means: dict[str, Any], intervals: dict[str, Any], scores: list[ImageScore], protocol: str
) -> None:
    """Tables on stdout: means by data set and method, then every image if there are any."""
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    table = Table(
        "data set", Column("method", overflow="fold"), title=f"mean, protocol {protocol!r}"
    )
    for column in ("PSNR (dB)", "95 %", "SSIM", "95 %"):
        table.add_column(column, justify="right")
    for dataset, methods in means.items():
        for method, metrics in methods.items():
            row = [dataset, method]
            for metric, digits in (("psnr", 2), ("ssim", 4)):
                low, high = intervals[dataset][method][metric]
                bounds = (f"{bound:.{digits}f}".removeprefix("0") for bound in (low, high))
                row += [f"{metrics[metric]:.{digits}f}", "–".join(bounds)]  # noqa: RUF001
            table.add_row(*row)
    console.print(table)
    if scores:
        table = Table("image", "method", "PSNR (dB)", "SSIM", title="every image")
        for score in scores:
            psnr, ssim = score.metrics["psnr"], score.metrics["ssim"]
            table.add_row(score.image, score.method, f"{psnr:.2f}", f"{ssim:.4f}")
        console.print(table)


def print_best(best: list[ImageScore], out_dir: Path | None, *, several: bool) -> None:
    """A line an image, the best first: PSNR, then the file of the result or the image's name."""
    for score in best:
        method = score.method if several else None
        shown = score.image if out_dir is None else result_path(out_dir, score.image, method)
        print(f"{score.metrics['psnr']:6.2f} dB  {shown}" + (f"  {method}" if method else ""))


def _without_infinity(value: Any) -> Any:
    """Plain values in which what JSON cannot write, such as the PSNR of equal images, is None."""
    if isinstance(value, dict):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
