"""``torch-sr test``: measure models on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
    find_model,
    progress_bar,
)
from torch_sr.cli.results import (
    BestComparisons,
    check_records,
    print_json,
    print_tables,
    record_scores,
)

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import Comparison, ImageScore, SuperResolve
    from torch_sr.evaluation.measures import Setting
    from torch_sr.evaluation.plane import PlanePoint
    from torch_sr.evaluation.run import OnComparison


def test(
    models: Annotated[
        list[str], typer.Argument(help="Weights files or names of models, of one factor.")
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
    record: Annotated[
        bool, typer.Option("--record", help="Write the means into the models' own files as well.")
    ] = False,
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    tile_size: Annotated[
        int | None,
        typer.Option("--tile-size", min=1, help="Largest tile, in low-resolution pixels. \\[640]"),
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
    if record:
        check_records(models)
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
    if record:
        record_scores(models, list(methods), scores, setting)
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
    for model in models:
        find_model(model)  # fetches with a progress bar
    scale_factor, methods = known.load_models(models, **where)
    if sweep is not None:
        if len(sweep) != 2:
            raise typer.BadParameter("--sweep takes two models, parted by a comma")
        psnr, esrgan = map(find_model, sweep)
        alphas = [step / sweep_steps for step in range(sweep_steps + 1)]
        factor, steps = known.load_sweep(psnr, esrgan, alphas, **where)
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


def plane_points(scores: Sequence[ImageScore], perceptual: str) -> list[PlanePoint]:
    """Every method's means over all images; interpolations make up groups of their own."""
    from torch_sr.evaluation.plane import PlanePoint
    from torch_sr.evaluation.run import overall_means

    kinds = ("alpha", "images")  # as `methods.load_sweep` names them
    return [
        PlanePoint(
            method,
            means["psnr"],
            means[perceptual],
            next((kind for kind in kinds if method.startswith(f"{kind} ")), None),
        )
        for method, means in overall_means(scores).items()
    ]


def write_plane(path: Path, scores: Sequence[ImageScore], names: Sequence[str]) -> None:
    """Draw every method's means over all images."""
    from torch_sr.evaluation.measures import MEASURES
    from torch_sr.evaluation.plane import draw_plane
    from torch_sr.evaluation.run import store_image

    y = perceptual_of(names)
    assert y is not None  # one was added
    row = MEASURES[y]
    points = plane_points(scores, y)
    drawn = draw_plane(points, MEASURES["psnr"].title, row.title, not row.higher_is_better)
    store_image(path, drawn)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
