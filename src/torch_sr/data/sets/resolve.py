"""Resolve a specification such as ``bsds500:train`` to image pairs.

The name is a row of :data:`~torch_sr.data.sets.table.DATASETS`, or a folder or image list, absolute
or relative to the data root. :mod:`torch_sr.data.sets.spec_syntax` describes the syntax, and
:mod:`torch_sr.data.sets.custom` the parts of a folder.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from torch_sr.data.sets.custom import Resolved, is_list, resolve_custom
from torch_sr.data.sets.file_pairs import FilePair, find_pairs
from torch_sr.data.sets.folders import sub_folders
from torch_sr.data.sets.list_files import LIST_SUFFIXES
from torch_sr.data.sets.spec_syntax import parse_spec
from torch_sr.data.sets.table import DATASETS, Purpose, name_and_splits
from torch_sr.errors import DataError
from torch_sr.files import expand_home

if TYPE_CHECKING:
    from torch_sr.config import Hyperparameters, PretrainingConfig, TrainingConfig


def resolve(spec: str, data_root: Path, scale_factor: int, purpose: Purpose) -> list[FilePair]:
    """List the image pairs of a specification.

    Args:
        spec: such as ``bsds500:train+test`` or ``photos``.
        data_root: folder of the data sets.
        scale_factor: between the two resolutions.
        purpose: selects the splits if the specification names none.

    Raises:
        MissingDatasetError: a known data set is not below the data root.
        DataError: an unknown name or split, a scale factor that the data set does not have, or
            images that cannot be paired.
    """
    return resolve_with_warnings(spec, data_root, scale_factor, purpose).pairs


def resolve_with_warnings(
    spec: str, data_root: Path, scale_factor: int, purpose: Purpose
) -> Resolved:
    """As :func:`resolve`, with warnings about the files of a folder or list that are not used."""
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
        return Resolved(find_pairs(row.locate(data_root), scale_factor))
    pairs: list[FilePair] = []
    for split in splits:
        if split not in row.splits:
            raise DataError(f"{spec}: no split {split!r}; choose from {', '.join(row.splits)}")
        pairs += find_pairs(row.locate(data_root, split), scale_factor, row.track)
    return Resolved(pairs)


def identify(spec: str, data_root: Path) -> tuple[str, str]:
    """The name and parts of a data set, equal for ``photos``, ``./photos`` and ``photos/``."""
    name, parts = parse_spec(spec, data_root)
    if name.lower() in DATASETS:
        return name.lower(), parts
    return str((data_root / Path(name).expanduser()).resolve()), parts


def find_root(spec: str, data_root: Path) -> Path:
    """The folder that contains a data set: the working directory, or else the data root."""
    here = Path.cwd()
    return here if (here / parse_spec(spec, here)[0]).exists() else data_root


def train_and_val_specs(
    section: PretrainingConfig | TrainingConfig,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The data sets to train on and to validate on.

    If a configuration names only folders or lists to train on, and no validation data, these are
    split, because the default for validation, DIV2K, would not be useful.

    Returns:
        those in the section, or ``photos:train`` and ``photos:val``.
    """
    named = section.train_datasets
    given = section.model_fields_set
    custom = [spec for spec in named if spec.partition(":")[0].lower() not in DATASETS]
    if "val_datasets" in given or "train_datasets" not in given or len(custom) < len(named):
        return named, section.val_datasets
    names = [spec.removesuffix(":train") for spec in named]
    return tuple(f"{name}:train" for name in names), tuple(f"{name}:val" for name in names)


def specs_of_config(config: Hyperparameters) -> dict[Purpose, list[str]]:
    """The data sets of all stages of a configuration, by purpose."""
    sides = [train_and_val_specs(stage) for stage in config.stages.values()]
    return {
        "train": [spec for train, _ in sides for spec in train],
        "val": [spec for _, val in sides for spec in val],
    }


def _resolve_path(spec: str, data_root: Path, scale_factor: int) -> Resolved:
    name, parts = parse_spec(spec, data_root)
    path = data_root / expand_home(name)
    if path.is_dir() or is_list(path):
        return resolve_custom(path, parts, scale_factor)
    raise DataError(
        f"data set {name!r}: not a known name, and there is no folder or list {path}; "
        f"{_hint(name, path)}"
    )


def _hint(name: str, path: Path) -> str:
    """A likely remedy for a name that is not found below the data root."""
    if path.is_file():
        return f"if it is a list of images, rename it to end in {', '.join(sorted(LIST_SUFFIXES))}"
    here = Path(name).expanduser()
    if name and here.exists():
        return f"write {here.absolute()}, because relative paths start at the data root"
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    siblings = {folder.name.lower(): folder.name for folder in sub_folders(path.parent)}
    near = near or [
        siblings[found] for found in difflib.get_close_matches(path.name.lower(), siblings, n=1)
    ]
    return f"did you mean {near[0]}?" if near else f"known names: {', '.join(DATASETS)}"


def _refuse_splits(spec: str) -> None:
    _, colon, splits = spec.partition(":")
    if colon and splits:
        raise DataError(f"{spec}: leave out ':{splits}'; this data set has no splits")
