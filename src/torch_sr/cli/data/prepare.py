"""``torch-sr data prepare``: decode data sets into the cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from torch_sr.cli.bars import cache_progress
from torch_sr.cli.data.check import ScaleFactor
from torch_sr.cli.options import AsJSON, DataRoot
from torch_sr.config import load_config
from torch_sr.data.prepare import PlannedCache, build_caches, plan_caches, repair_caches
from torch_sr.data.sets.resolve import specs_of_config
from torch_sr.data.sets.table import Purpose
from torch_sr.options import Option

Targets = Annotated[
    list[str],
    typer.Argument(help="Data sets, written as in a configuration; or one configuration."),
]
ForPurpose = Annotated[
    Purpose, Option("Which splits to use if the data set names none.", ("--for",))
]


def prepare(
    targets: Targets,
    scale_factor: ScaleFactor = None,
    data_root: DataRoot = Path("data"),
    for_purpose: ForPurpose = "train",
    estimate: Annotated[bool, Option("Only print the size of the cache.")] = False,
    verify: Annotated[
        bool, Option("Verify existing caches, and rebuild those that are damaged.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Decode data sets into the cache now, rather than when a training starts."""
    plans = _plan(targets, scale_factor, data_root, for_purpose)
    damaged: list[Path] = []
    if not estimate:
        with cache_progress() as progress:
            build_caches(plans, progress)
            damaged = repair_caches(plans, progress) if verify else []
    for path in damaged:
        print(f"damaged or changed: {path}", file=sys.stderr)
    if as_json:
        print(json.dumps(_to_dict(plans, len(damaged), estimated=estimate), indent=2))
        return
    _print_plans(plans, estimated=estimate)
    if verify and not estimate:
        print(f"verified; {len(damaged)} damaged or changed images, whose caches were rebuilt")


def _plan(
    targets: Sequence[str], scale_factor: int | None, data_root: Path, purpose: Purpose
) -> list[PlannedCache]:
    """The caches of data sets, or of all data sets of a configuration."""
    if len(targets) > 1 or Path(targets[0]).suffix.lower() != ".json":
        specs = {purpose: list(targets)}
        return plan_caches(specs, data_root=data_root, scale_factor=scale_factor or 4)
    config = load_config(targets[0])
    return plan_caches(
        specs_of_config(config),
        data_root=data_root,
        scale_factor=scale_factor or config.scale_factor,
        channels=config.img_channels,
    )


def _missing_bytes(plans: Sequence[PlannedCache]) -> int:
    return sum(plan.num_bytes for plan in plans if not plan.ready)


def _to_dict(plans: Sequence[PlannedCache], damaged: int, *, estimated: bool) -> dict[str, Any]:
    return {
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
        "bytes_missing": _missing_bytes(plans) if estimated else 0,
        "damaged": damaged,
    }


def _print_plans(plans: Sequence[PlannedCache], *, estimated: bool) -> None:
    """Print a line for each cache, and the total."""
    right = [Column(name, justify="right") for name in ("images", "MB")]
    table = Table("cache", "low resolution", *right, "state")
    for plan in plans:
        state = "ready" if plan.ready else "missing" if estimated else "built"
        shrink = f"made, 1/{plan.recipe.shrink}" if plan.recipe.shrink > 1 else ""
        size = f"{plan.num_bytes / 1e6:.0f}"
        table.add_row(plan.recipe.name, shrink, str(len(plan.recipe.paths)), size, state)
    Console().print(table)
    if estimated:
        print(f"{_missing_bytes(plans) / 1e9:.2f} GB are missing")
    elif plans:
        print(plans[0].recipe.cache_dir)
