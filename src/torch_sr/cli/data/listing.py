"""``torch-sr data list``: list the data sets known by name, and their folders."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from torch_sr.cli.options import AsJSON, DataRoot
from torch_sr.data.sets.archives import DOWNLOADABLE
from torch_sr.data.sets.table import DATASETS, find_known


def list_datasets(data_root: DataRoot = Path("data"), as_json: AsJSON = False) -> None:
    """List the data sets known by name, and where they are."""
    folders: dict[str, list[str]] = {}
    for spec, folder in find_known(data_root):
        folders.setdefault(spec.partition(":")[0], []).append(str(folder))
    if as_json:
        rows = [
            {
                "name": name,
                "title": row.title,
                "splits": list(row.splits),
                "download": name in DOWNLOADABLE,
                "folders": folders.get(name, []),
            }
            for name, row in DATASETS.items()
        ]
        print(json.dumps(rows, indent=2))
        return
    table = Table("name", "splits", "download", Column(f"below {data_root}", overflow="fold"))
    for name, row in DATASETS.items():
        downloadable = "yes" if name in DOWNLOADABLE else "no"
        places = [str(Path(folder).relative_to(data_root)) for folder in folders.get(name, [])]
        table.add_row(name, " ".join(row.splits), downloadable, "\n".join(places))
    Console().print(table)
