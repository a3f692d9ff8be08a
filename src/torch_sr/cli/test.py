"""``torch-sr test``: measure a model on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import json
import math
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
    model: Annotated[str, typer.Argument(help="A weights file or the name of a shipped model.")],
    datasets: Annotated[
        str, typer.Option("--datasets", "-d", help="Separated by commas: set5,set14,bsds500,div2k.")
    ] = "set5,set14",
    data_root: DataRoot = Path("data"),
    protocol: Annotated[
        str, typer.Option(help="paper (luma, border cropped, 8 bit) or rgb.")
    ] = "paper",
    per_image: Annotated[bool, typer.Option("--per-image", help="List every image.")] = False,
    show_results: Annotated[
        int, typer.Option("--show-results", "-s", min=0, help="List the N images of best PSNR.")
    ] = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out-dir", "-o", help="Store the model's results here, as PNG."),
    ] = None,
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Measure PSNR and SSIM of a model on data sets, beside bicubic."""
    from torch_sr.evaluation.evaluate import best_scores, mean_scores
    from torch_sr.metrics import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r}: there are {', '.join(PROTOCOLS)}")
    specs = [spec.strip() for spec in datasets.split(",") if spec.strip()]
    if not specs:
        raise typer.BadParameter("--datasets names none")
    scores = measure_model(
        model,
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
            "images": [asdict(score) for score in scores],
            "best": [asdict(score) for score in best],
        }
        print(json.dumps(_without_infinity(result), indent=2, allow_nan=False))
    else:
        print_tables(means, scores if per_image else [], protocol)
        print_best(best, out_dir)


def measure_model(
    model: str,
    specs: list[str],
    *,
    data_root: Path,
    protocol: str,
    out_dir: Path | None,
    device: str,
    precision: str,
) -> list[ImageScore]:
    """Scores of bicubic and the model for every image of the data sets.

    Args:
        model: a weights file or the name of a shipped model.
        specs: data sets; see :func:`torch_sr.data.open.open_pairs`.
        data_root: where they lie.
        protocol: a key of :data:`torch_sr.metrics.PROTOCOLS`.
        out_dir: where the model's results are stored, see :func:`result_path`; None stores none.
        device, precision: see :class:`torch_sr.inference.upscaler.Upscaler`.
    """
    from torch_sr.data.open import open_pairs
    from torch_sr.evaluation.evaluate import bicubic, evaluate
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.metrics import PROTOCOLS

    upscaler = Upscaler(model, device=device, precision=precision)
    assert upscaler.info is not None  # it has been given a model and no engine
    methods = {BASELINE: bicubic(upscaler.scale_factor), upscaler.info.name: upscaler.upscale}

    def store(dataset: str, image: str, method: str, sr: Array) -> None:
        if out_dir is not None and method != BASELINE:
            store_result(result_path(out_dir, image), sr)

    scores: list[ImageScore] = []
    for spec in specs:
        with cache_progress() as tell:
            pairs = open_pairs(
                [spec],
                data_root=data_root,
                scale_factor=upscaler.scale_factor,
                purpose="test",
                progress=tell,
            )
        with progress_bar("images") as progress:
            task = progress.add_task(spec, total=len(pairs))
            for score in evaluate(methods, spec, pairs, PROTOCOLS[protocol], store):
                scores.append(score)
                progress.update(task, advance=1 / len(methods))
    return scores


def result_path(out_dir: Path, image: str) -> Path:
    """Where the result for ``set5/baby`` is stored: ``out_dir/set5/baby_sr.png``."""
    return out_dir / f"{image}_sr.png"


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


def print_tables(means: dict[str, Any], scores: list[ImageScore], protocol: str) -> None:
    """Tables on stdout: means by data set and method, then every image if there are any."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("data set", "method", title=f"mean, protocol {protocol!r}")
    for metric in ("PSNR (dB)", "SSIM"):
        table.add_column(metric, justify="right")
    for dataset, methods in means.items():
        for method, metrics in methods.items():
            table.add_row(dataset, method, f"{metrics['psnr']:.2f}", f"{metrics['ssim']:.4f}")
    console.print(table)
    if scores:
        table = Table("image", "method", "PSNR (dB)", "SSIM", title="every image")
        for score in scores:
            psnr, ssim = score.metrics["psnr"], score.metrics["ssim"]
            table.add_row(score.image, score.method, f"{psnr:.2f}", f"{ssim:.4f}")
        console.print(table)


def print_best(best: list[ImageScore], out_dir: Path | None) -> None:
    """A line an image, the best first: PSNR, then the file of the result or the image's name."""
    for score in best:
        shown = score.image if out_dir is None else result_path(out_dir, score.image)
        print(f"{score.metrics['psnr']:6.2f} dB  {shown}")


def _without_infinity(value: Any) -> Any:
    """Plain values in which what JSON cannot write, such as the PSNR of equal images, is None."""
    if isinstance(value, dict):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_infinity(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
