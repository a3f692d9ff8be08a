"""``torch-sr data download``: download data sets from their publishers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.bars import download_progress
from torch_sr.cli.options import DataRoot
from torch_sr.data.sets.downloads import download_dataset
from torch_sr.data.sets.table import DATASETS
from torch_sr.options import Option

ScaleFactor = Annotated[
    int, Option("Factor between low and high resolution.", ("--scale-factor",), min=1)
]


def download(
    names: Annotated[list[str], typer.Argument(help="Data sets by name, such as div2k or set5.")],
    scale_factor: ScaleFactor = 4,
    data_root: DataRoot = Path("data"),
    split: Annotated[
        str | None, Option("Download only this split, such as train.", default="all")
    ] = None,
    keep_archives: Annotated[bool, Option("Keep the archives in .downloads/.")] = False,
) -> None:
    """Download data sets from where they are published; an interrupted download is resumed."""
    for name in names:
        row = DATASETS.get(name.lower())
        if split is not None and row is not None and split not in row.splits:
            known = ", ".join(row.splits) or "none"
            raise typer.BadParameter(f"--split {split!r}: {name} has {known}")
    with download_progress() as show:
        for name in names:
            folders = download_dataset(
                name.lower(),
                data_root,
                scale_factor,
                split=split,
                keep_archives=keep_archives,
                progress=show,
            )
            for folder in folders:
                print(folder)
