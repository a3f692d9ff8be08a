"""``torch-sr data``: fetch data sets, find what is wrong with them, decode them beforehand.

``degrade`` is in :mod:`torch_sr.cli.data.degrade`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torch_sr.cli.console import AsJSON, DataRoot, cache_progress, download_progress, progress_bar
from torch_sr.cli.data.degrade import degrade

if TYPE_CHECKING:
    from torch_sr.data.inspection.findings import CheckReport
    from torch_sr.data.prepare import PlannedCache
    from torch_sr.data.sets.table import Purpose

app = typer.Typer(help="Fetch, check, prepare and degrade data sets.", no_args_is_help=True)
ScaleFactor = Annotated[
    int, typer.Option("--scale", "-s", min=1, help="Factor between low and high resolution.")
]
Root = Annotated[
    Path,
    typer.Option("--root", "--data-root", envvar="TORCH_SR_DATA", help="Where data sets lie."),
]


@app.callback()
def _data() -> None:
    """Fetch, check, prepare and degrade data sets."""


@app.command("list")
def list_datasets(root: Root = Path("data"), as_json: AsJSON = False) -> None:
    """List the data sets known by name, and where they lie."""
    from torch_sr.data.sets.archives import DOWNLOADABLE
    from torch_sr.data.sets.table import DATASETS, find_known

    there: dict[str, list[str]] = {}
    for spec, folder in find_known(root):
        there.setdefault(spec.partition(":")[0], []).append(str(folder))
    if as_json:
        rows = [
            {
                "name": name,
                "title": row.title,
                "splits": list(row.splits),
                "download": name in DOWNLOADABLE,
                "folders": there.get(name, []),
            }
            for name, row in DATASETS.items()
        ]
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table("name", "splits", "by download", Column(f"below {root}", overflow="fold"))
    for name, row in DATASETS.items():
        fetched = "yes" if name in DOWNLOADABLE else "no"
        places = [str(Path(folder).relative_to(root)) for folder in there.get(name, [])]
        table.add_row(name, " ".join(row.splits), fetched, "\n".join(places))
    Console().print(table)


@app.command("download")
def download(
    names: Annotated[list[str], typer.Argument(help="Data sets by name, such as div2k or set5.")],
    scale: ScaleFactor = 4,
    root: Root = Path("data"),
    split: Annotated[
        str | None, typer.Option("--split", help="Only this split, such as train. [all]")
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Leave the archives in .downloads/.")
    ] = False,
) -> None:
    """Fetch data sets from where they are published; an interrupted download goes on."""
    from torch_sr.data.sets.downloads import download_dataset
    from torch_sr.data.sets.table import DATASETS

    for name in names:
        row = DATASETS.get(name.lower())
        if split is not None and row is not None and split not in row.splits:
            known = ", ".join(row.splits) or "none"
            raise typer.BadParameter(f"--split {split!r}: {name} has {known}")
    with download_progress() as tell:
        for name in names:
            folders = download_dataset(
                name.lower(),
                root,
                scale,
                split=split,
                keep_archives=keep_archives,
                progress=tell,
            )
            for folder in folders:
                print(folder)


@app.command("check")
def check(
    target: Annotated[
        str, typer.Argument(help="A data root, a folder, a data set by name, or a configuration.")
    ],
    scale: Annotated[
        int | None,
        typer.Option("--scale", "-s", min=1, help="[4, or the configuration's]"),
    ] = None,
    root: Root = Path("data"),
    crop: Annotated[
        int | None, typer.Option("--crop", min=1, help="Side of the crops to train with.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Find what is wrong with data sets: sizes, shifts, colours, duplicates; code 1 if anything."""
    from torch_sr.data.inspection.check import check_datasets, datasets_of, find_datasets
    from torch_sr.data.sets.spec_syntax import parse_spec

    crop_size = (crop, crop) if crop else None
    if Path(target).suffix.lower() == ".json" and Path(target).is_file():
        from torch_sr.config import load_config
        from torch_sr.data.sets.resolve import specs_of_config

        config = load_config(target)
        scale = scale or config.scale_factor
        crops = [stage.cr_patch_size for stage in config.stages.values() if stage.cr_patch_size]
        crop_size = crop_size or max(crops, default=None)
        datasets, findings = datasets_of(specs_of_config(config), root, scale)
    elif Path(target).is_dir():
        datasets, findings = find_datasets(Path(target), scale or 4)
    else:
        here = (Path.cwd() / parse_spec(target, Path.cwd())[0]).exists()
        place = Path.cwd() if here else root
        datasets, findings = datasets_of({"train": [target]}, place, scale or 4)
    with progress_bar("images") as bar:
        task = bar.add_task("looking at", total=None)
        report = check_datasets(
            datasets,
            scale or 4,
            crop_size=crop_size,
            findings=findings,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
    if not report.passed:
        raise typer.Exit(1)


def print_report(report: CheckReport) -> None:
    """What was looked at, then what was found, the worst first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = Console()
    table = Table("set", "for", Column("images", justify="right"), Column("LR", justify="right"))
    for dataset in report.datasets:
        given = sum(pair.lr is not None for pair in dataset.pairs)
        table.add_row(
            dataset.label, dataset.purpose, str(len(dataset.pairs)), str(given) if given else "made"
        )
    console.print(table)
    if not report.findings:
        print("nothing found")
        return
    colours = {"error": "bold red", "warning": "yellow", "note": "dim"}
    table = Table("", "check", "set", Column("what", overflow="fold"))
    for finding in report.findings:
        severity = f"[{colours[finding.severity]}]{finding.severity}[/]"
        table.add_row(severity, finding.check, escape(finding.dataset), escape(finding.message))
    console.print(table)


@app.command("prepare")
def prepare(
    targets: Annotated[
        list[str], typer.Argument(help="Data sets, written as in a configuration; or one of these.")
    ],
    scale: Annotated[
        int | None,
        typer.Option("--scale", "-s", min=1, help="[4, or the configuration's]"),
    ] = None,
    data_root: DataRoot = Path("data"),
    for_purpose: Annotated[
        str, typer.Option("--for", help="train, val or test: the splits where none is named.")
    ] = "train",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only tell how large it will be.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read everything again, and rebuild what is damaged."),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Decode data sets into the cache now, rather than when a training starts."""
    if for_purpose not in ("train", "val", "test"):
        raise typer.BadParameter(f"--for {for_purpose!r}: there are train, val, test")
    from torch_sr.data.prepare import build_caches, repair_caches

    plans = _plan(targets, scale, data_root, for_purpose)  # type: ignore[arg-type]
    missing = sum(plan.num_bytes for plan in plans if not plan.ready)
    damaged: list[Path] = []
    if not estimate:
        with cache_progress() as report:
            build_caches(plans, report)
    if verify and not estimate:
        with cache_progress() as report:
            damaged = repair_caches(plans, report)
        for path in damaged:
            print(f"damaged or changed: {path}", file=sys.stderr)
    result = {
        "caches": [
            {
                "name": plan.recipe.name,
                "shrink": plan.recipe.shrink,
                "images": len(plan.recipe.paths),
                "bytes": plan.num_bytes,
                "was_ready": plan.ready,
            }
            for plan in plans
        ],
        "bytes_missing": missing if estimate else 0,
        "damaged": len(damaged),
    }
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print_plans(plans, missing, estimated=estimate)
        if verify and not estimate:
            print(f"verified; {len(damaged)} images were damaged or changed and were cached again")


def _plan(
    targets: Sequence[str], scale: int | None, data_root: Path, purpose: Purpose
) -> list[PlannedCache]:
    """The caches of data sets, or of all data sets of a configuration."""
    from torch_sr.data.prepare import plan_caches

    if len(targets) == 1 and Path(targets[0]).suffix.lower() == ".json":
        from torch_sr.config import load_config
        from torch_sr.data.sets.resolve import specs_of_config

        config = load_config(targets[0])
        return plan_caches(
            specs_of_config(config),
            data_root=data_root,
            scale_factor=scale or config.scale_factor,
            channels=config.img_channels,
        )
    return plan_caches({purpose: targets}, data_root=data_root, scale_factor=scale or 4)


def print_plans(plans: Sequence[PlannedCache], missing: int, *, estimated: bool) -> None:
    """A line for each cache, and the sum."""
    from rich.console import Console
    from rich.table import Column, Table

    right = [Column(name, justify="right") for name in ("images", "MB")]
    table = Table("cache", "low resolution", *right, "state")
    for plan in plans:
        state = "there" if plan.ready else "missing" if estimated else "made"
        shrink = f"made, 1/{plan.recipe.shrink}" if plan.recipe.shrink > 1 else ""
        size = f"{plan.num_bytes / 1e6:.0f}"
        table.add_row(plan.recipe.name, shrink, str(len(plan.recipe.paths)), size, state)
    Console().print(table)
    if estimated:
        print(f"{missing / 1e9:.2f} GB are missing")
    elif plans:
        print(plans[0].recipe.cache_dir)


app.command("degrade")(degrade)
