"""The data sets known by name, as rows of one table, and how a specification is resolved.

A specification is ``name``, ``name:split`` or ``name:split+split``. The name is a row of
``DATASETS``, or else a folder: absolute, or below the data root. Adding a data set is adding a
row.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch_sr.data.pairs import ImagePair, find_pairs
from torch_sr.errors import DataError

Purpose = Literal["train", "val", "test"]


@dataclass(frozen=True)
class DatasetRow:
    """A data set: its usual folders below the data root, its splits, and which serve for what.

    Args:
        title: what people call it.
        folders: below the data root; the first that is there is taken.
        splits: from their names to their high-resolution folders; none for a single set.
        train, val, test: the splits for each purpose where a specification names none.
    """

    title: str
    folders: tuple[str, ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


DATASETS: dict[str, DatasetRow] = {
    "div2k": DatasetRow(
        "DIV2K",
        ("DIV2K", "div2k", "."),
        {"train": "DIV2K_train_HR", "val": "DIV2K_valid_HR"},
        train=("train",),
        val=("val",),
        test=("val",),  # the ground truth of DIV2K's own test split was never published
    ),
    "bsds500": DatasetRow(
        "BSDS500",
        ("BSR/BSDS500/data/images", "BSDS500/data/images", "BSDS500", "bsds500"),
        {name: name for name in ("train", "val", "test")},
        train=("train", "test"),
        val=("val",),  # the 100 images known as B100: never trained on
        test=("val",),
    ),
    "set5": DatasetRow("Set5", ("benchmark/Set5", "Set5", "set5")),
    "set14": DatasetRow("Set14", ("benchmark/Set14", "Set14", "set14")),
}


def resolve(spec: str, data_root: Path, scale_factor: int, purpose: Purpose) -> list[ImagePair]:
    """List the image pairs that a specification such as ``bsds500:train+test`` names.

    Raises:
        DataError: for an unknown name or split, or a data set that does not lie below the root.
    """
    drive = Path(spec).drive  # the colon of C:/images parts nothing
    name, _, splits = spec.removeprefix(drive).partition(":")
    name = drive + name
    row = DATASETS.get(name.lower())
    if row is None:
        return _resolve_folder(name, splits, data_root, scale_factor)
    if not row.splits:
        _refuse_splits(spec, splits)
        return find_pairs(_locate(row, data_root), scale_factor)
    pairs: list[ImagePair] = []
    for split_name in splits.split("+") if splits else getattr(row, purpose):
        split = row.splits.get(split_name)
        if split is None:
            raise DataError(f"{spec}: no split {split_name!r}; there are {', '.join(row.splits)}")
        pairs += find_pairs(_locate(row, data_root, split), scale_factor)
    return pairs


def _locate(row: DatasetRow, data_root: Path, split: str = "") -> Path:
    candidates = [data_root / folder / split for folder in row.folders]
    found = next((path for path in candidates if path.is_dir()), None)
    if found is not None:
        return found
    usual = Path(row.folders[0], split)
    raise DataError(
        f"data set {row.title} not found: no folder {usual} in {data_root}; "
        "name its parent with --data-root or TORCH_SR_DATA"
    )


def _resolve_folder(name: str, splits: str, data_root: Path, scale_factor: int) -> list[ImagePair]:
    folder = data_root / Path(name).expanduser()
    if not folder.is_dir():
        near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DATASETS)}"
        raise DataError(f"data set {name!r}: neither a known name nor a folder {folder}; {hint}")
    _refuse_splits(name, splits)
    return find_pairs(folder, scale_factor)


def _refuse_splits(spec: str, splits: str) -> None:
    if splits:
        raise DataError(f"{spec}: this data set has no splits; leave out ':{splits}'")
