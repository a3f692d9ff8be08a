"""Refuse output files that cannot be written or would replace an input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch_sr.data.image_pairs import label_of
from torch_sr.data.sets.resolve import resolve
from torch_sr.errors import DataError, MissingDatasetError
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.store import ResultStore
from torch_sr.files import try_writing
from torch_sr.images import is_image_name

_WEIGHTS = frozenset({".bin", ".ckpt", ".param", ".pt", ".pth", ".safetensors"})


def check_document(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a text file that cannot be written, or would replace a model or image.

    Args:
        path: the file to write.
        inputs: files that the command reads.

    Raises:
        DataError: the file is refused.
    """
    if path.suffix.lower() in _WEIGHTS or is_image_name(path.name):
        raise DataError(f"{path}: choose another suffix; this one is for models or images")
    check_place(path, inputs)


def check_place(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that cannot be written, or that the command reads.

    Raises:
        DataError: the file is refused.
    """
    target = Path(os.path.realpath(path))
    if path.is_dir() or not target.parent.is_dir():
        raise DataError(
            f"{path}: choose a file in an existing folder; no file can be written there"
        )
    if target in {Path(os.path.realpath(file)) for file in inputs}:
        raise DataError(f"{path}: choose another name; this file is an input of the command")
    if target.exists() and not target.is_file():
        raise DataError(f"{path}: choose another name; this is not a regular file")
    try:
        try_writing(target.parent)
    except OSError as error:
        raise DataError(
            f"{path}: choose another folder; no file can be written there ({error.strerror})"
        ) from error


def check_results(
    store: ResultStore,
    specs: Sequence[str],
    data_root: Path,
    scale_factor: int,
    methods: Sequence[Method],
) -> None:
    """Refuse a folder for results in which a data set has its own images.

    Raises:
        DataError: such a folder is named.
    """
    for spec in specs:
        try:
            pairs = resolve(spec, data_root, scale_factor, "test")
        except MissingDatasetError:  # will be downloaded, or reported later
            continue
        sources = {file.parent.resolve() for pair in pairs for file in (pair.hr, pair.lr) if file}
        for pair in pairs:
            image = f"{label_of(spec)}/{pair.name}"
            results = [store.result(image, method.label) for method in methods]
            for file in (store.sheet(image), *results):
                if file.parent.resolve() in sources:
                    raise DataError(
                        f"--out: choose another folder; results of {spec} would be stored in "
                        f"{file.parent}, among its images"
                    )
