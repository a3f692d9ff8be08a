"""Parse and check the options of ``torch-sr test``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from torch_sr.cli.test.results import FORMATS
from torch_sr.cli.test.targets import check_document, check_place
from torch_sr.data.sets.resolve import identify
from torch_sr.data.sets.spec_syntax import split_specs
from torch_sr.errors import ModelError
from torch_sr.evaluation.labels import parse_named
from torch_sr.evaluation.method import BASELINE, Method
from torch_sr.images import check_writable
from torch_sr.metrics import PROTOCOLS
from torch_sr.models.interpolation import parse_alphas
from torch_sr.options import split_commas


def choose_format(form: str, as_json: bool, per_image: bool) -> str:
    """The output format; ``--json`` is a shorthand for ``json``."""
    if form not in FORMATS:
        raise typer.BadParameter(f"--format {form!r}: choose one of {', '.join(FORMATS)}")
    if as_json and form not in ("table", "json"):
        raise typer.BadParameter(f"--json and --format {form}: choose one of the two")
    if per_image and form == "csv":
        raise typer.BadParameter("--format csv prints means; --csv FILE writes every image")
    return "json" if as_json else form


def choose_protocols(text: str) -> list[str]:
    """Parse protocols separated by commas, without duplicates."""
    names = list(dict.fromkeys(split_commas(text)))
    for name in names or [text]:
        if name not in PROTOCOLS:
            raise typer.BadParameter(f"protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return names


def choose_datasets(text: str, data_root: Path) -> list[str]:
    """Parse data sets separated by commas; duplicates, which would share files, are dropped."""
    specs = split_specs(text, data_root)
    if not specs:
        raise typer.BadParameter("--datasets: name at least one data set")
    found: dict[object, str] = {}
    repeated: dict[str, None] = {}
    for spec in specs:
        if found.setdefault(identify(spec, data_root), spec) != spec or specs.count(spec) > 1:
            repeated[spec] = None
    for spec in repeated:
        print(f"note: {spec} is given more than once and measured once", file=sys.stderr)
    return list(found.values())


def check_files(
    report: Path | None,
    csv: Path | None,
    plane: Path | None,
    models: Sequence[str],
    sweep: Sequence[str],
) -> None:
    """Refuse files that cannot be written, or that replace a model or each other."""
    inputs = [*map(Path, map(_model_of, models)), *map(Path, sweep)]
    for path in (report, csv):
        if path is not None:
            check_document(path, inputs)
    given = [path.resolve() for path in (report, csv, plane) if path is not None]
    if len(set(given)) < len(given):
        raise typer.BadParameter("--report, --csv and --plane: choose different files")
    if plane is not None:
        check_place(plane, inputs)
        check_writable(plane, 1, 1)


def _model_of(text: str) -> str:
    """The model of ``LABEL=MODEL``."""
    return parse_named(text).model


def choose_sweep(text: str | None) -> list[str] | None:
    """Parse two models; a comma in the path of an existing file is not a separator."""
    if text is None:
        return None
    ends = split_specs(text, Path())
    for end in ends:
        if parse_named(end).label is not None:
            raise typer.BadParameter(
                f"--sweep {end}: leave out the label; each step is labeled with its alpha"
            )
    if len(ends) != 2:
        raise typer.BadParameter(
            "--sweep takes two models, separated by a comma; write a path with a comma in double "
            "quotes"
        )
    return ends


def choose_strengths(text: str | None) -> list[float]:
    """Parse strengths separated by commas, without duplicates; ``0:1:0.1`` is a sweep."""
    if text is None:
        return []
    try:
        parts = [parse_alphas(part, "--strength") for part in split_commas(text) or (text,)]
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    return list(dict.fromkeys(strength for part in parts for strength in part))


def choose_reference(versus: str | None, methods: Sequence[Method]) -> str | None:
    """The method that the others are compared with; by default the first of several models."""
    labels = [BASELINE, *(method.label for method in methods)]
    if versus is not None and versus not in labels:
        raise typer.BadParameter(f"--versus {versus!r}: choose one of {', '.join(labels)}")
    several = [method.label for method in methods if method.is_model]
    return versus or (several[0] if len(several) > 1 else None)
