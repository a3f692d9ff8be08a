"""``torch-sr test``: measure a model on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import json
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
    fail,
    progress_bar,
)

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import ImageScore


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
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Measure PSNR and SSIM of a model on data sets, beside bicubic."""
    specs = [spec.strip() for spec in datasets.split(",") if spec.strip()]
    scores = measure_model(model, specs, data_root, protocol, device, precision)
    from torch_sr.evaluation.evaluate import mean_scores

    means = mean_scores(scores)
    if as_json:
        result = {"protocol": protocol, "mean": means, "images": [asdict(s) for s in scores]}
        print(json.dumps(result, indent=2))
    else:
        print_tables(means, scores if per_image else [], protocol)


def measure_model(
    model: str, specs: list[str], data_root: Path, protocol: str, device: str, precision: str
) -> list[ImageScore]:
    """Scores of bicubic and the model for every image of the data sets."""
    from torch_sr.data.open import open_pairs
    from torch_sr.evaluation.evaluate import bicubic, evaluate
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.metrics import PROTOCOLS

    if protocol not in PROTOCOLS:
        fail(f"protocol {protocol!r}: unknown; there are {', '.join(PROTOCOLS)}")
    upscaler = Upscaler(model, device=device, precision=precision)
    methods = {"bicubic": bicubic(upscaler.scale_factor), upscaler.info.name: upscaler.upscale}
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
            for score in evaluate(methods, spec, pairs, PROTOCOLS[protocol]):
                scores.append(score)
                progress.update(task, advance=1 / len(methods))
    return scores


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
