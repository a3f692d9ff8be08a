"""The table of known data sets: folders, splits and purposes.

To add a data set, add a row to :data:`DATASETS`, and its archives to
:mod:`torch_sr.data.sets.archives`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch_sr.errors import MissingDatasetError

Purpose = Literal["train", "val", "test"]


@dataclass(frozen=True)
class DatasetRow:
    """A data set: its usual folders below the data root, its splits, and their purposes.

    Args:
        title: the usual spelling of its name.
        folders: possible folders below the data root; the first one that exists is used.
        splits: high-resolution folders by split; empty for a data set without splits.
        train, val, test: the splits for each purpose if a specification names none.
        track: see :func:`~torch_sr.data.sets.file_pairs.find_pairs`.
        scale_factors: the factors for which low resolution exists; empty if it can be made for any.
        benchmark: whether the data set is for tests only.
    """

    title: str
    folders: tuple[str, ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    track: str | None = None
    scale_factors: tuple[int, ...] = ()
    benchmark: bool = False

    def find(self, data_root: Path, split: str = "") -> Path | None:
        """The high-resolution folder of a split, or of the whole set; None if it is missing."""
        below = self.splits.get(split, "")
        candidates = (data_root / folder / below for folder in self.folders)
        return next((path for path in candidates if path.is_dir()), None)

    def locate(self, data_root: Path, split: str = "") -> Path:
        """As :meth:`find`.

        Raises:
            MissingDatasetError: the folder is missing.
        """
        found = self.find(data_root, split)
        if found is not None:
            return found
        usual = Path(self.folders[0], self.splits.get(split, ""))
        raise MissingDatasetError(
            f"data set {self.title} not found: no folder {usual} in {data_root}; set its parent "
            "with --data-root or TORCH_SR_DATA, or download it with 'torch-sr data download'"
        )


def _div2k(track: str | None = None, scale_factors: tuple[int, ...] = ()) -> DatasetRow:
    return DatasetRow(
        f"DIV2K {track}" if track else "DIV2K",
        ("DIV2K", "div2k", "."),
        {"train": "DIV2K_train_HR", "val": "DIV2K_valid_HR"},
        train=("train",),
        val=("val",),
        test=("val",),  # the ground truth of DIV2K's own test split was never published
        track=track,
        scale_factors=scale_factors,
    )


def _benchmark(title: str, *folders: str) -> DatasetRow:
    usual = (f"benchmark/{title}", f"benchmarks/{title}", title, title.lower())
    return DatasetRow(title, (*usual, *folders), benchmark=True)


DATASETS: dict[str, DatasetRow] = {
    "div2k": _div2k(),
    "div2k-unknown": _div2k("unknown", (2, 3, 4)),
    "div2k-mild": _div2k("mild", (4,)),
    "div2k-difficult": _div2k("difficult", (4,)),
    "div2k-wild": _div2k("wild", (4,)),
    "bsds500": DatasetRow(
        "BSDS500",
        ("BSR/BSDS500/data/images", "BSDS500/data/images", "BSDS500", "bsds500"),
        {name: name for name in ("train", "val", "test")},
        train=("train", "test"),
        val=("val",),  # the 100 images known as B100: never trained on
        test=("val",),
    ),
    "flickr2k": DatasetRow("Flickr2K", ("Flickr2K", "flickr2k")),
    "lsdir": DatasetRow(
        "LSDIR",
        ("LSDIR", "lsdir"),
        {"train": "HR/train", "val": "HR/val"},
        train=("train",),
        val=("val",),
        test=("val",),
    ),
    "set5": _benchmark("Set5"),
    "set14": _benchmark("Set14"),
    "b100": _benchmark(
        "B100",
        "benchmark/BSD100",
        "BSD100",
        "BSDS100",
        "BSR/BSDS500/data/images/val",  # the same images
        "BSDS500/data/images/val",
    ),
    "urban100": _benchmark("Urban100"),
    "manga109": _benchmark("Manga109"),
}


def name_and_splits(spec: str, purpose: Purpose) -> tuple[str, tuple[str, ...]]:
    """Split the specification of a known data set into its name and splits.

    Any other specification is returned unchanged, without splits.
    """
    name, _, splits = spec.partition(":")
    row = DATASETS.get(name.lower())
    if row is None:
        return spec, ()
    if not row.splits:
        return name, ()
    return name.lower(), tuple(splits.split("+")) if splits else getattr(row, purpose)


def find_known(data_root: Path) -> Iterator[tuple[str, Path]]:
    """Find the known data sets below a data root.

    Yields:
        the specification, ``name`` or ``name:split``, and the folder of its high-resolution images
        or of all its images.
    """
    for name, row in DATASETS.items():
        for split in row.splits or {"": ""}:
            folder = row.find(data_root, split)
            if folder is not None:
                yield f"{name}:{split}" if split else name, folder
