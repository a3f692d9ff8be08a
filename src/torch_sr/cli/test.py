"""``torch-sr test``: measure models on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.console import (
    AsJSON,
    DataRoot,
    Device,
    Download,
    Precision,
    cache_progress,
    fetch_first,
    progress_bar,
)

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import Comparison, ImageScore, SuperResolve
    from torch_sr.evaluation.measures import Setting
    from torch_sr.evaluation.run import OnComparison


def test(
    models: Annotated[
        list[str], typer.Argument(help="Weights files or names of shipped models, of one factor.")
    ],
    datasets: Annotated[
        str, typer.Option("--datasets", "-d", help="Separated by commas: set5,set14,bsds500,div2k.")
    ] = "set5,set14",
    data_root: DataRoot = Path("data"),
    download: Download = False,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            "-m",
            help="Separated by commas: psnr, ssim, content_loss, perceptual_loss, lpips, dists, "
            "niqe, brisque; or all, which leaves out what cannot be had.",
        ),
    ] = "psnr,ssim",
    protocol: Annotated[
        str,
        typer.Option(
            help="paper (luma, border cropped, 8 bit), rgb, or enhanced-srgan (gray, nothing "
            "cropped or rounded)."
        ),
    ] = "paper",
    per_image: Annotated[bool, typer.Option("--per-image", help="List every image.")] = False,
    show_results: Annotated[
        int,
        typer.Option(
            "--show-results",
            "-s",
            min=0,
            help="Show the N images of best PSNR, in a window where there is a display.",
        ),
    ] = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out-dir", "-o", help="Store the models' results here, and a sheet of every image."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write one HTML page of tables, plots and sliders."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write every image's metrics here.")
    ] = None,
    plane: Annotated[
        Path | None,
        typer.Option(
            "--plane",
            help="Draw PSNR against a perceptual metric (the first of --metrics, else LPIPS), PNG.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep", help="PSNR_MODEL,ESRGAN_MODEL: measure interpolations of the two as well."
        ),
    ] = None,
    sweep_steps: Annotated[
        int, typer.Option("--sweep-steps", min=1, help="Steps from one to the other.")
    ] = 5,
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    tile_size: Annotated[
        int | None,
        typer.Option("--tile-size", min=1, help="Largest tile, in low-resolution pixels. [640]"),
    ] = None,
) -> None:
    """Measure models on data sets, beside bicubic: PSNR, SSIM and more; tables and pictures."""
    from torch_sr.metrics import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r}: there are {', '.join(PROTOCOLS)}")
    specs = _split(datasets)
    if not specs:
        raise typer.BadParameter("--datasets names none")
    for path in (report, csv, plane):
        check_place(path)
    if plane is not None:
        from torch_sr.images import check_writable

        check_writable(plane, 1, 1)
    methods, setting = load_methods(
        models,
        _split(sweep) if sweep is not None else None,
        sweep_steps,
        protocol=protocol,
        device=device,
        precision=precision,
        tile_size=tile_size,
    )
    names = choose_metrics(_split(metrics), setting, plane=plane is not None)
    best = BestComparisons(show_results)
    watchers: list[Callable[[Comparison], None]] = [best.add]
    if out_dir is not None:
        watchers.append(lambda comparison: store(out_dir, comparison))
    if report is not None:
        page = make_report(specs, setting)
        watchers.append(page.add)
    scores = measure(methods, specs, names, setting, data_root, download, watchers)
    if as_json:
        print_json(scores, best, protocol)
    else:
        print_tables(scores, per_image=per_image, protocol=protocol)
        best.show(out_dir, several=len(methods) > 1)
    if csv is not None:
        from torch_sr.evaluation.run import write_csv

        write_csv(csv, scores)
    if report is not None:
        page.write(report)
    if plane is not None:
        write_plane(plane, scores, names)
    for path in (csv, report, plane):
        if path is not None:
            print(path, file=sys.stderr if as_json else sys.stdout)


def check_place(path: Path | None) -> None:
    """Refuse, before hours of measuring, a file whose folder is not there.

    Raises:
        DataError: in one line.
    """
    from torch_sr.errors import DataError

    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise DataError(f"{path}: no file can be written there; name one in a folder that exists")


def load_methods(
    models: list[str],
    sweep: list[str] | None,
    sweep_steps: int,
    *,
    protocol: str,
    device: str,
    precision: str,
    tile_size: int | None,
) -> tuple[dict[str, SuperResolve], Setting]:
    """The models and the interpolations, by name, and what their measures share.

    Raises:
        ModelError: when one cannot be read, or they do not fit together.
    """
    from torch_sr.devices import choose_device
    from torch_sr.errors import ModelError
    from torch_sr.evaluation import methods as known
    from torch_sr.evaluation.measures import Setting
    from torch_sr.metrics import PROTOCOLS

    where: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "tile_size": tile_size or known.TILE_SIZE,
    }
    scale_factor, methods = known.load_models(models, **where)
    if sweep is not None:
        if len(sweep) != 2:
            raise typer.BadParameter("--sweep takes two models, parted by a comma")
        factor, steps = known.load_sweep(sweep[0], sweep[1], sweep_steps, **where)
        if factor != scale_factor:
            raise ModelError(f"--sweep is of x{factor}, the other models are of x{scale_factor}")
        methods |= steps
    return methods, Setting(scale_factor, PROTOCOLS[protocol], str(choose_device(device)))


def choose_metrics(wanted: list[str], setting: Setting, *, plane: bool) -> list[str]:
    """PSNR always, for images are ranked by it; of all, those that can be had.

    Raises:
        DataError: for an unknown name, or where a plane has nothing to show.
    """
    from torch_sr.errors import DataError, TorchSRError
    from torch_sr.evaluation.measures import MEASURES, build_measures

    if wanted != ["all"]:
        names = list(dict.fromkeys(["psnr", *wanted]))
        return [*names, "lpips"] if plane and perceptual_of(names) is None else names
    names = []
    for name in MEASURES:
        try:
            build_measures([name], setting)
            names.append(name)
        except TorchSRError as error:
            print(f"note: without {name}: {error}", file=sys.stderr)
    if plane and perceptual_of(names) is None:
        raise DataError("--plane needs a perceptual metric, and none of them can be had")
    return names


def perceptual_of(names: Sequence[str]) -> str | None:
    """The first metric that is no measure of distortion."""
    distortions = {"psnr", "ssim", "content_loss"}
    return next((name for name in names if name not in distortions), None)


def measure(
    methods: dict[str, SuperResolve],
    specs: list[str],
    metrics: list[str],
    setting: Setting,
    data_root: Path,
    download: bool,
    watchers: Sequence[Callable[[Comparison], None]],
) -> list[ImageScore]:
    """Run the test, showing progress."""
    from torch_sr.evaluation.run import run_test

    if download:
        fetch_first(specs, data_root, setting.scale_factor, "test")
    with ExitStack() as stack:
        tell = stack.enter_context(cache_progress())
        bar = stack.enter_context(progress_bar("images"))
        tasks: dict[str, Any] = {}

        def on_comparison(comparison: Comparison, number: int, total: int) -> None:
            name = comparison.dataset
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=number)
            for watch in watchers:
                watch(comparison)

        seen: OnComparison = on_comparison
        return run_test(
            methods,
            specs,
            metrics,
            setting,
            data_root=data_root,
            cache_progress=tell,
            on_comparison=seen,
        )


def store(out_dir: Path, comparison: Comparison) -> None:
    """Write results and sheet of one image."""
    from torch_sr.evaluation.figures import draw_sheet
    from torch_sr.evaluation.run import store_comparison

    store_comparison(out_dir, comparison, draw_sheet(comparison))


def make_report(specs: list[str], setting: Setting) -> Any:
    """An empty page."""
    from torch_sr.evaluation.report import Report

    title = f"{', '.join(specs)} at x{setting.scale_factor}"
    return Report(title=title, protocol=setting.protocol.name, scale_factor=setting.scale_factor)


def write_plane(path: Path, scores: Sequence[ImageScore], names: Sequence[str]) -> None:
    """Draw every method's means over all images."""
    from torch_sr.evaluation.figures import PlanePoint, draw_plane
    from torch_sr.evaluation.measures import MEASURES
    from torch_sr.evaluation.run import overall_means, store_image

    y = perceptual_of(names)
    assert y is not None  # one was added
    points = [
        PlanePoint(method, means["psnr"], means[y], _group(method))
        for method, means in overall_means(scores).items()
    ]
    row = MEASURES[y]
    drawn = draw_plane(points, MEASURES["psnr"].title, row.title, not row.higher_is_better)
    store_image(path, drawn)


def _group(method: str) -> str | None:
    return "interpolation" if method.startswith("alpha ") else None


class BestComparisons:
    """The images of highest PSNR under a model, the best first.

    Args:
        count: how many to keep.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[ImageScore, Comparison]] = []

    def add(self, comparison: Comparison) -> None:
        """Keep an image if it is among the best."""
        from torch_sr.evaluation.run import BASELINE

        self._kept += [(s, comparison) for s in comparison.scores if s.method != BASELINE]
        self._kept.sort(key=lambda kept: kept[0].metrics["psnr"], reverse=True)
        del self._kept[self.count :]

    @property
    def scores(self) -> list[ImageScore]:
        """Their scores."""
        return [score for score, _ in self._kept]

    def show(self, out_dir: Path | None, *, several: bool) -> None:
        """Print a line an image, with the file of its result; open the sheets where one can see."""
        from torch_sr.evaluation.run import result_path

        for score, _ in self._kept:
            method = score.method if several else None
            shown = score.image if out_dir is None else result_path(out_dir, score.image, method)
            print(f"{score.metrics['psnr']:6.2f} dB  {shown}" + (f"  {method}" if method else ""))
        if has_display():
            seen = {id(comparison): comparison for _, comparison in self._kept}
            for comparison in seen.values():
                open_window(comparison)


def has_display() -> bool:
    """Whether a window could be seen by whoever runs this."""
    if not sys.stdout.isatty():
        return False
    windows = sys.platform in ("win32", "darwin")
    return windows or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(comparison: Comparison) -> None:
    """Show a sheet in the viewer of the desktop."""
    from PIL import Image as PillowImage

    from torch_sr.evaluation.figures import draw_sheet

    PillowImage.fromarray(draw_sheet(comparison)).show(title=comparison.image)


def print_json(scores: Sequence[ImageScore], best: BestComparisons, protocol: str) -> None:
    """Everything measured, on stdout; what JSON cannot write is null."""
    from torch_sr.evaluation.evaluate import interval_scores, mean_scores

    result = {
        "protocol": protocol,
        "mean": mean_scores(scores),
        "interval": interval_scores(scores),
        "images": [asdict(score) for score in scores],
        "best": [asdict(score) for score in best.scores],
    }
    print(json.dumps(_without_infinity(result), indent=2, allow_nan=False))


def print_tables(scores: Sequence[ImageScore], *, per_image: bool, protocol: str) -> None:
    """Tables on stdout: means by data set and method with intervals, then every image if wanted."""
    from rich.console import Console
    from rich.table import Column, Table

    from torch_sr.evaluation.evaluate import interval_scores, mean_scores
    from torch_sr.evaluation.measures import MEASURES

    # What is piped into a file has room enough; a terminal shows what fits.
    console = Console(width=None if sys.stdout.isatty() else 160)
    metrics = list(scores[0].metrics)
    means, intervals = mean_scores(scores), interval_scores(scores)
    table = Table(
        "data set", Column("method", overflow="fold"), title=f"mean, protocol {protocol!r}"
    )
    for metric in metrics:
        table.add_column(f"{MEASURES[metric].title}\n95 %", justify="right", no_wrap=True)
    for dataset, methods in means.items():
        for method, values in methods.items():
            row = [dataset, method]
            for metric in metrics:
                digits = MEASURES[metric].digits
                bounds = (f"{b:.{digits}f}" for b in intervals[dataset][method][metric])
                row.append(f"{values[metric]:.{digits}f}\n[dim]{'–'.join(bounds)}[/]")  # noqa: RUF001
            table.add_row(*row)
    console.print(table)
    if per_image:
        titles = [MEASURES[metric].title for metric in metrics]
        table = Table("image", "method", *titles, title="every image")
        for score in scores:
            shown = [f"{score.metrics[m]:.{MEASURES[m].digits}f}" for m in metrics]
            table.add_row(score.image, score.method, *shown)
        console.print(table)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _without_infinity(value: Any) -> Any:
    """Plain values in which what JSON cannot write, such as the PSNR of equal images, is None."""
    if isinstance(value, dict):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
