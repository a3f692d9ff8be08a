"""``torch-sr test``: measure models on benchmarks, beside bicubic interpolation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.bars import cache_progress, download_progress, progress_bar
from torch_sr.cli.downloads import download_data, load_model
from torch_sr.cli.options import AsJSON, DataRoot, Device, Download
from torch_sr.cli.test.choices import (
    check_files,
    choose_datasets,
    choose_format,
    choose_protocols,
    choose_reference,
    choose_strengths,
    choose_sweep,
    split_commas,
)
from torch_sr.cli.test.results import (
    BestComparisons,
    check_records,
    print_results,
    print_tables,
    record_scores,
    result_tables,
)
from torch_sr.cli.test.targets import check_results

if TYPE_CHECKING:
    from torch_sr.evaluation.compare import Comparison, ImageScore
    from torch_sr.evaluation.cost import CostWatch
    from torch_sr.evaluation.evaluate import OnComparison
    from torch_sr.evaluation.method import Method
    from torch_sr.evaluation.metric_table import MetricSettings
    from torch_sr.evaluation.presentation.tables import Results
    from torch_sr.evaluation.store import ResultStore

_MODELS_HELP = (
    "Weights files or names of models, of one factor; LABEL=MODEL sets what it is called."
)
_METRICS_HELP = (
    "Separated by commas: psnr, ssim, content_loss, perceptual_loss, lpips, dists, niqe, brisque; "
    "or all, which leaves out what is not available."
)
_PROTOCOL_HELP = (
    "paper (luma, border cropped, 8 bit), rgb, or enhanced-srgan (gray, nothing cropped or "
    "rounded); several, separated by commas, give a table each."
)
_VERSUS_HELP = (
    "Compare every method with this one, by a paired bootstrap over images. "
    "\\[default: the first of several models]"
)
_PLANE_HELP = "Draw PSNR against a perceptual metric (the first of --metrics, else LPIPS), PNG."
_STRENGTH_HELP = (
    "Measure compact-x4 and its partner compact-x4-real at one strength (0.7), at several "
    "(0,0.5,1), or at a sweep (0:1:0.1). Models without a partner are measured once."
)
_SWEEP_HELP = "PSNR_MODEL,ESRGAN_MODEL: measure interpolations of the two as well."
_COST_HELP = (
    "Add parameters, multiply-adds for an output of 1280x720, and megapixels/s of this run."
)

Models = Annotated[list[str], typer.Argument(help=_MODELS_HELP)]
Datasets = Annotated[
    str, typer.Option("--datasets", "-d", help="Separated by commas: set5,set14,bsds500,div2k.")
]
Metrics = Annotated[str, typer.Option("--metrics", "-m", help=_METRICS_HELP)]
ProtocolOption = Annotated[str, typer.Option(help=_PROTOCOL_HELP)]
Format = Annotated[
    str, typer.Option("--format", help="What to print: table, markdown, latex, csv or json.")
]
Versus = Annotated[str | None, typer.Option("--versus", help=_VERSUS_HELP)]
WithCost = Annotated[bool, typer.Option("--cost", help=_COST_HELP)]
PerImage = Annotated[bool, typer.Option("--per-image", help="List every image.")]
ShowResults = Annotated[
    int,
    typer.Option(
        "--show-results",
        "-s",
        min=0,
        help="Show the N images of best PSNR, in a window where there is a display.",
    ),
]
OutDir = Annotated[
    Path | None,
    typer.Option(
        "--out-dir", "-o", help="Store the models' results here, and a sheet of every image."
    ),
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", help="Write one HTML page of tables, plots and sliders.")
]
CSVFile = Annotated[
    Path | None, typer.Option("--csv", help="Write every image's metrics to this file.")
]
PlaneFile = Annotated[Path | None, typer.Option("--plane", help=_PLANE_HELP)]
Strength = Annotated[str | None, typer.Option("--strength", help=_STRENGTH_HELP)]
Sweep = Annotated[str | None, typer.Option("--sweep", help=_SWEEP_HELP)]
SweepSteps = Annotated[
    int, typer.Option("--sweep-steps", min=1, help="Steps from one to the other.")
]
Record = Annotated[
    bool, typer.Option("--record", help="Write the means into the models' own files as well.")
]
TileSize = Annotated[
    int | None,
    typer.Option("--tile-size", min=1, help="Largest tile, in low-resolution pixels. \\[640]"),
]


def test(
    models: Models,
    datasets: Datasets = "set5,set14",
    data_root: DataRoot = Path("data"),
    download: Download = False,
    metrics: Metrics = "psnr,ssim",
    protocol: ProtocolOption = "paper",
    form: Format = "table",
    versus: Versus = None,
    cost: WithCost = False,
    per_image: PerImage = False,
    show_results: ShowResults = 0,
    out_dir: OutDir = None,
    report: ReportFile = None,
    csv: CSVFile = None,
    plane: PlaneFile = None,
    strength: Strength = None,
    sweep: Sweep = None,
    sweep_steps: SweepSteps = 5,
    record: Record = False,
    as_json: AsJSON = False,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "fp32",
    tile_size: TileSize = None,
) -> None:
    """Measure models on data sets, beside bicubic: PSNR, SSIM and more; tables and pictures."""
    form = choose_format(form, as_json, per_image)
    protocols, specs = choose_protocols(protocol), choose_datasets(datasets, data_root)
    ends, strengths = choose_sweep(sweep), choose_strengths(strength)
    check_files(report, csv, plane, models, ends or ())
    if record and strengths:
        raise typer.BadParameter(
            "leave out --record or --strength: no file holds the networks in between"
        )
    if record:
        check_records(models)
    methods, setting = load_methods(
        models,
        ends,
        sweep_steps,
        strengths=strengths,
        protocols=protocols,
        device=device,
        precision=precision,
        tile_size=tile_size,
    )
    reference = choose_reference(versus, methods)
    names = _choose_metrics(metrics, setting, plane=plane is not None)
    best = BestComparisons(show_results)
    watchers: list[Callable[[Comparison], None]] = [best.add]
    store, page, costs = None, None, None
    if out_dir is not None:
        store = _make_store(out_dir, specs, methods)
        check_results(store, specs, data_root, setting.scale_factor, methods)
        watchers.append(lambda comparison: _store(store, comparison))
    if report is not None:
        page = _make_report(specs, setting, reference)
        watchers.append(page.add)
    if cost:
        costs = _make_cost_watch(methods, setting)
        watchers.append(costs.add)
    scores = measure(methods, specs, names, setting, data_root, download, watchers)
    if record:
        record_scores(methods, scores, setting)
    several = _results(scores, setting, reference, costs)
    _print(several, scores, best, form, per_image, store, len(methods) > 1)
    if csv is not None:
        from torch_sr.evaluation.store import write_csv

        write_csv(csv, scores)
    if page is not None and report is not None:
        page.write(report)
    if plane is not None:
        write_plane(plane, methods, scores, names)
    for path in (csv, report, plane):
        if path is not None:
            print(path, file=_aside(form))


# --- What is compared -----------------------------------------------------------------------------


def load_methods(
    models: Sequence[str],
    sweep: list[str] | None,
    sweep_steps: int,
    *,
    strengths: Sequence[float],
    protocols: Sequence[str],
    device: str,
    precision: str,
    tile_size: int | None,
) -> tuple[list[Method], MetricSettings]:
    """The models and the interpolations, and what their measures share.

    Raises:
        ModelError: when one cannot be read, or they do not fit together.
    """
    from torch_sr.devices import choose_device
    from torch_sr.errors import ModelError
    from torch_sr.evaluation import methods as known
    from torch_sr.evaluation.metric_table import MetricSettings
    from torch_sr.metrics import PROTOCOLS

    where: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "tile_size": tile_size or known.TILE_SIZE,
    }
    alphas = [step / sweep_steps for step in range(sweep_steps + 1)]
    taken = known.sweep_labels(alphas) if sweep is not None else []
    with download_progress() as report:
        methods = known.load_models(
            models, strengths=strengths, **where, taken=taken, on_download=report
        )
    scale_factor = known.common_scale_factor(methods)
    if sweep is not None:
        psnr, esrgan = map(load_model, sweep)
        steps = known.load_sweep(psnr, esrgan, alphas=alphas, **where)
        factor = known.common_scale_factor(steps)
        if factor != scale_factor:
            raise ModelError(f"--sweep is of x{factor}, the other models are of x{scale_factor}")
        methods += steps
    main, *further = (PROTOCOLS[name] for name in protocols)
    on = str(choose_device(device))
    return methods, MetricSettings(scale_factor, main, on, further=tuple(further))


def _choose_metrics(text: str, setting: MetricSettings, *, plane: bool) -> list[str]:
    from torch_sr.evaluation.metric_choice import choose_metrics

    if not split_commas(text):
        raise typer.BadParameter("--metrics names none")
    names, notes = choose_metrics(split_commas(text), setting, plane=plane)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return names


# --- The work -------------------------------------------------------------------------------------


def measure(
    methods: Sequence[Method],
    specs: list[str],
    metrics: list[str],
    setting: MetricSettings,
    data_root: Path,
    download: bool,
    watchers: Sequence[Callable[[Comparison], None]],
) -> list[ImageScore]:
    """Run the test, showing progress."""
    from torch_sr.evaluation.evaluate import evaluate

    if download:
        download_data(specs, data_root, setting.scale_factor, "test")
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
        return evaluate(
            methods,
            specs,
            metrics=metrics,
            protocols=setting.protocols,
            data_root=data_root,
            device=setting.device,
            cache_progress=tell,
            on_comparison=seen,
        ).scores


def _make_store(out_dir: Path, specs: list[str], methods: Sequence[Method]) -> ResultStore:
    from torch_sr.evaluation.store import ResultStore

    return ResultStore(out_dir, specs, methods)


def _store(store: ResultStore, comparison: Comparison) -> None:
    from torch_sr.evaluation.presentation.sheets import draw_sheet

    store.add(comparison, draw_sheet(comparison))


def _make_report(specs: list[str], setting: MetricSettings, reference: str | None) -> Any:
    """An empty page."""
    from torch_sr.evaluation.presentation.report import Report

    title = f"{', '.join(specs)} at x{setting.scale_factor}"
    return Report(title, setting.protocol.name, setting.scale_factor, reference=reference)


def _make_cost_watch(methods: Sequence[Method], setting: MetricSettings) -> CostWatch:
    from torch_sr.evaluation.cost import CostWatch

    return CostWatch(methods, setting.scale_factor)


def _results(
    scores: Sequence[ImageScore],
    setting: MetricSettings,
    reference: str | None,
    costs: CostWatch | None,
) -> list[Results]:
    """What there is to show, by protocol."""
    from torch_sr.evaluation.presentation.tables import results_by_protocol

    spent = {} if costs is None else costs.costs()
    return results_by_protocol(scores, setting.protocols, reference, spent)


def _print(
    several: Sequence[Results],
    scores: Sequence[ImageScore],
    best: BestComparisons,
    form: str,
    per_image: bool,
    store: ResultStore | None,
    several_models: bool,
) -> None:
    """Results on stdout; notes on stderr, and with them all that is no part of a document."""
    from torch_sr.evaluation.presentation.tables import image_table
    from torch_sr.evaluation.statistics import left_out_notes

    images = [image_table(scores, results.protocol) for results in several] if per_image else []
    if form == "table":
        print_tables([*result_tables(several), *images])
    else:
        print_results(several, scores, best, form, images)
    for results in several:
        for note in left_out_notes(results.summary):
            print(f"note: {note}, protocol {results.protocol!r}", file=sys.stderr)
    if form != "json":
        best.show(store, several=several_models, file=_aside(form))


def write_plane(
    path: Path, methods: Sequence[Method], scores: Sequence[ImageScore], names: Sequence[str]
) -> None:
    """Draw every method's means over all images, under the main protocol."""
    from torch_sr.evaluation.metric_choice import perceptual_of
    from torch_sr.evaluation.presentation.perception_distortion import draw_means, plane_points
    from torch_sr.evaluation.statistics import overall_means
    from torch_sr.evaluation.store import store_image

    perceptual = perceptual_of(names)
    assert perceptual is not None  # one was added
    main = [score for score in scores if score.protocol == scores[0].protocol]
    store_image(
        path, draw_means(plane_points(methods, overall_means(main), perceptual), perceptual)
    )


def _aside(form: str) -> Any:
    """Where to print what is no part of the document on stdout."""
    return sys.stdout if form == "table" else sys.stderr
