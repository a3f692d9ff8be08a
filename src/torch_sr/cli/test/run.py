"""Run a test: check the options, measure, print and write the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TextIO

import typer

from torch_sr.cli.bars import download_progress
from torch_sr.cli.downloads import download_data, load_model
from torch_sr.cli.measuring import measure
from torch_sr.cli.test.choices import (
    check_files,
    choose_datasets,
    choose_format,
    choose_protocols,
    choose_reference,
    choose_strengths,
    choose_sweep,
)
from torch_sr.cli.test.options import MeasureOptions
from torch_sr.cli.test.results import (
    BestComparisons,
    check_records,
    print_results,
    print_tables,
    record_scores,
    result_tables,
)
from torch_sr.cli.test.targets import check_results
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.cost import CostWatch
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.metric_choice import choose_metrics, perceptual_of
from torch_sr.evaluation.metric_table import MetricSettings
from torch_sr.evaluation.presentation.report import Report
from torch_sr.evaluation.presentation.sheets import draw_sheet
from torch_sr.evaluation.presentation.sweep import write_plane
from torch_sr.evaluation.presentation.tables import Results, image_table, results_by_protocol
from torch_sr.evaluation.setup import load_methods, metric_settings
from torch_sr.evaluation.statistics import left_out_notes
from torch_sr.evaluation.store import ResultStore, write_csv
from torch_sr.options import split_commas


def run_test(models: Sequence[str], options: MeasureOptions, *, as_json: bool = False) -> None:
    """Measure models, and print and write the results.

    Args:
        models: names or weights files, each also as ``LABEL=MODEL``.
        options: what is measured and written.
        as_json: print everything as JSON.

    Raises:
        typer.BadParameter: for options that are wrong.
    """
    file_format = choose_format(options.file_format, as_json, options.per_image)
    protocols = choose_protocols(options.protocol)
    specs = choose_datasets(options.datasets, options.data_root)
    methods = _load(models, options)
    setting = metric_settings(methods, protocols, options.device)
    reference = choose_reference(options.versus, methods)
    metrics = _choose_metrics(options.metrics, setting, plane=options.plane is not None)
    best = BestComparisons(options.show_results)
    watchers: list[Callable[[Comparison], None]] = [best.add]
    store = _make_store(options, specs, methods, setting)
    if store is not None:
        watchers.append(partial(_store, store))
    page = _make_report(specs, setting, reference)
    if options.report is not None:
        watchers.append(page.add)
    costs = CostWatch(methods, setting.scale_factor) if options.cost else None
    if costs is not None:
        watchers.append(costs.add)
    if options.download:
        download_data(specs, options.data_root, setting.scale_factor, "test")
    scores = measure(methods, specs, metrics, setting, options.data_root, watchers)
    if options.record:
        record_scores(methods, scores, setting)
    spent = {} if costs is None else costs.costs()
    results = results_by_protocol(scores, setting.protocols, reference, spent)
    _print(results, scores, best, file_format, per_image=options.per_image)
    if file_format != "json":
        best.show(store, several=len(methods) > 1, file=_notes_to(file_format))
    if options.csv is not None:
        write_csv(options.csv, scores)
    if options.report is not None:
        page.write(options.report)
    if options.plane is not None:
        perceptual = perceptual_of(metrics)
        assert perceptual is not None  # --plane adds one
        write_plane(options.plane, methods, scores, perceptual)
    for path in (options.csv, options.report, options.plane):
        if path is not None:
            print(path, file=_notes_to(file_format))


def _load(models: Sequence[str], options: MeasureOptions) -> list[Method]:
    """Check the options that need no methods, and load all methods."""
    ends, strengths = choose_sweep(options.sweep), choose_strengths(options.strength)
    check_files(options.report, options.csv, options.plane, models, ends or ())
    if options.record and strengths:
        raise typer.BadParameter(
            "leave out --record or --strength: mixed networks have no file to record in"
        )
    if options.record:
        check_records(models)
    sweep = [load_model(end) for end in ends or ()]
    with download_progress() as progress:
        return load_methods(
            models,
            sweep=sweep,
            sweep_steps=options.sweep_steps,
            strengths=strengths,
            device=options.device,
            precision=options.precision,
            engine=options.engine,
            threads=options.threads,
            tile_size=options.tile_size,
            on_download=progress,
        )


def _choose_metrics(text: str, setting: MetricSettings, *, plane: bool) -> list[str]:
    if not split_commas(text):
        raise typer.BadParameter("--metrics: name at least one metric")
    with download_progress() as progress:
        setting = replace(setting, on_download=progress)
        names, notes = choose_metrics(split_commas(text), setting, plane=plane)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return names


def _make_store(
    options: MeasureOptions,
    specs: list[str],
    methods: Sequence[Method],
    setting: MetricSettings,
) -> ResultStore | None:
    if options.out is None:
        return None
    store = ResultStore(options.out, specs, methods)
    check_results(store, specs, options.data_root, setting.scale_factor, methods)
    return store


def _store(store: ResultStore, comparison: Comparison) -> None:
    store.add(comparison, draw_sheet(comparison))


def _make_report(specs: list[str], setting: MetricSettings, reference: str | None) -> Report:
    """An empty page."""
    title = f"{', '.join(specs)} at x{setting.scale_factor}"
    return Report(title, setting.protocol.name, setting.scale_factor, reference=reference)


def _print(
    several: Sequence[Results],
    scores: Sequence[ImageScore],
    best: BestComparisons,
    file_format: str,
    *,
    per_image: bool,
) -> None:
    """Print the results on stdout, and what was left out on stderr."""
    images = [image_table(scores, results.protocol) for results in several] if per_image else []
    if file_format == "table":
        print_tables([*result_tables(several), *images])
    else:
        print_results(several, scores, best, file_format, images)
    for results in several:
        for note in left_out_notes(results.summary):
            print(f"note: {note}, protocol {results.protocol!r}", file=sys.stderr)


def _notes_to(file_format: str) -> TextIO:
    """Where to print what is not part of the document on stdout."""
    return sys.stdout if file_format == "table" else sys.stderr
