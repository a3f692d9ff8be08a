"""The data sets known by name, as rows of one table, and how a specification is resolved.

A specification is ``name``, ``name:split`` or ``name:split+split``. The name is a row of
``DATASETS``, or else a folder or a list of images, absolute or below the data root; see
:mod:`torch_sr.data.sets.spec_syntax` and :mod:`torch_sr.data.sets.custom`. To add a data set,
add a row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch_sr.data.sets.custom import Resolved, is_list, resolve_custom
from torch_sr.data.sets.file_pairs import FilePair, find_pairs
from torch_sr.data.sets.file_pairs import Purpose as Purpose
from torch_sr.data.sets.folders import sub_folders
from torch_sr.data.sets.list_files import LIST_SUFFIXES
from torch_sr.data.sets.spec_syntax import parse_spec
from torch_sr.errors import DataError, MissingDatasetError
from torch_sr.files import expand_home

if TYPE_CHECKING:
    from torch_sr.config.sections import PretrainingConfig, TrainingConfig


@dataclass(frozen=True)
class DatasetRow:
    """A data set: its usual folders below the data root, its splits, and which serve for what.

    Args:
        title: what people call it.
        folders: below the data root; the first that is there is taken.
        splits: from their names to their high-resolution folders; none for a single set.
        train, val, test: the splits for each purpose where a specification names none.
        track: see :func:`~torch_sr.data.sets.file_pairs.find_pairs`.
        scale_factors: for which there is low resolution; none where it can be made for any.
        benchmark: whether it is there for tests alone.
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
        "BSR/BSDS500/data/images/val",  # the very same images
        "BSDS500/data/images/val",
    ),
    "urban100": _benchmark("Urban100"),
    "manga109": _benchmark("Manga109"),
}


def resolve(spec: str, data_root: Path, scale_factor: int, purpose: Purpose) -> list[FilePair]:
    """List the image pairs that a specification such as ``bsds500:train+test`` names.

    Raises:
        DataError: for an unknown name or split, a data set that is not below the root, or a scale
            factor that it does not have.
    """
    return resolve_with_warnings(spec, data_root, scale_factor, purpose).pairs


def resolve_with_warnings(
    spec: str, data_root: Path, scale_factor: int, purpose: Purpose
) -> Resolved:
    """As :func:`resolve`, with remarks on what a folder or list leaves aside."""
    name, splits = name_and_splits(spec, purpose)
    row = DATASETS.get(name.lower())
    if row is None:
        return _resolve_path(spec, data_root, scale_factor)
    if row.scale_factors and scale_factor not in row.scale_factors:
        factors = ", ".join(f"x{factor}" for factor in row.scale_factors)
        raise DataError(
            f"{spec}: choose one of {factors}; this data set does not have x{scale_factor}"
        )
    if not row.splits:
        _refuse_splits(spec)
        return Resolved(find_pairs(_locate(row, data_root), scale_factor))
    pairs: list[FilePair] = []
    for split_name in splits:
        split = row.splits.get(split_name)
        if split is None:
            raise DataError(f"{spec}: no split {split_name!r}; there are {', '.join(row.splits)}")
        pairs += find_pairs(_locate(row, data_root, split), scale_factor, row.track)
    return Resolved(pairs)


def identify(spec: str, data_root: Path) -> tuple[str, str]:
    """What two spellings of one data set have in common: ``photos``, ``./photos``, ``photos/``."""
    name, parts = parse_spec(spec, data_root)
    if name.lower() in DATASETS:
        return name.lower(), parts
    return str((data_root / Path(name).expanduser()).resolve()), parts


def train_and_val_specs(
    section: PretrainingConfig | TrainingConfig,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The data sets to train on and to validate on.

    Where a configuration names folders or lists to train on and nothing to validate on, these are
    split: a default that names DIV2K would be of no use.

    Returns:
        as the section has them, or ``photos:train`` and ``photos:val``.
    """
    named = section.train_datasets
    given = section.model_fields_set
    own = [spec for spec in named if spec.partition(":")[0].lower() not in DATASETS]
    if "val_datasets" in given or "train_datasets" not in given or len(own) < len(named):
        return named, section.val_datasets
    names = [spec.removesuffix(":train") for spec in named]
    return tuple(f"{name}:train" for name in names), tuple(f"{name}:val" for name in names)


def name_and_splits(spec: str, purpose: Purpose) -> tuple[str, tuple[str, ...]]:
    """The name of a known data set, and the splits that are meant, if it has any.

    Of any other specification it is all name.
    """
    name, _, splits = spec.partition(":")
    row = DATASETS.get(name.lower())
    if row is None:
        return spec, ()
    if not row.splits:
        return name, ()
    return name.lower(), tuple(splits.split("+")) if splits else getattr(row, purpose)


def find_known(data_root: Path) -> Iterator[tuple[str, Path]]:
    """The specifications, ``name`` or ``name:split``, that are found below the root.

    Yields:
        the specification and its folder of high-resolution images, or of all its images.
    """
    for name, row in DATASETS.items():
        for split in row.splits or {"": ""}:
            folder = _find(row, data_root, row.splits.get(split, ""))
            if folder is not None:
                yield f"{name}:{split}" if split else name, folder


def _locate(row: DatasetRow, data_root: Path, split: str = "") -> Path:
    found = _find(row, data_root, split)
    if found is not None:
        return found
    usual = Path(row.folders[0], split)
    raise MissingDatasetError(
        f"data set {row.title} not found: no folder {usual} in {data_root}; "
        "name its parent with --data-root or TORCH_SR_DATA, or fetch it with "
        "'torch-sr data download'"
    )


def _find(row: DatasetRow, data_root: Path, split: str) -> Path | None:
    candidates = (data_root / folder / split for folder in row.folders)
    return next((path for path in candidates if path.is_dir()), None)


def _resolve_path(spec: str, data_root: Path, scale_factor: int) -> Resolved:
    name, parts = parse_spec(spec, data_root)
    path = data_root / expand_home(name)
    if path.is_dir() or is_list(path):
        return resolve_custom(path, parts, scale_factor)
    raise DataError(
        f"data set {name!r}: neither a known name nor a folder or list {path}; {_hint(name, path)}"
    )


def _hint(name: str, path: Path) -> str:
    """What may be meant by a name that is not found below the data root."""
    if path.is_file():
        return f"rename it if it is a list of images, to end in {', '.join(sorted(LIST_SUFFIXES))}"
    here = Path(name).expanduser()
    if name and here.exists():
        return f"write {here.absolute()}, as relative paths begin at the data root"
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    beside = {folder.name.lower(): folder.name for folder in sub_folders(path.parent)}
    near = near or [
        beside[found] for found in difflib.get_close_matches(path.name.lower(), beside, n=1)
    ]
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(DATASETS)}"


def _refuse_splits(spec: str) -> None:
    _, colon, splits = spec.partition(":")
    if colon and splits:
        raise DataError(f"{spec}: leave out ':{splits}'; this data set has no splits")
