"""Check data sets for faults: ``torch-sr data check``.

Every image is decoded once. The LR of each pair is compared in size, position and colors with the
result of MATLAB's bicubic; the images of all sets are compared with each other and with the
benchmarks, to find duplicates. No file is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.data.inspection import rules
from torch_sr.data.inspection.findings import CheckedSet, CheckReport, Finding, Severity
from torch_sr.data.inspection.pair import inspect_all
from torch_sr.data.sets.custom import resolve_custom
from torch_sr.data.sets.file_pairs import is_one_set
from torch_sr.data.sets.image_files import list_images
from torch_sr.data.sets.resolve import resolve_with_warnings
from torch_sr.data.sets.table import DATASETS, Purpose, find_known, name_and_splits
from torch_sr.errors import DataError
from torch_sr.files import explain


def check_datasets(
    datasets: Sequence[CheckedSet],
    scale_factor: int,
    *,
    crop_size: tuple[int, int] | None = None,
    findings: Sequence[Finding] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Inspect every image of some data sets, and compare the sets with each other.

    Args:
        datasets: see :func:`find_datasets` and :func:`datasets_of`.
        scale_factor: between the two resolutions.
        crop_size: height and width of the crops of a training; smaller images are errors.
        findings: earlier findings, added to the report.
        workers: threads; all cores by default.
        progress: called with the number of images inspected and their total number.
    """
    images = inspect_all(datasets, scale_factor, crop_size, workers=workers, progress=progress)
    found = [
        *findings,
        *rules.find_faults(images),
        *rules.find_shifts(images, scale_factor),
        *rules.find_colors(images),
        *rules.find_kinds(images),
        *rules.find_flat(images),
        *rules.find_losses(images),
        *rules.find_unpaired(datasets),
        *rules.find_benchmarks(images),
        *rules.find_duplicates(images),
    ]
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return CheckReport(datasets, sorted(found, key=lambda finding: order[finding.severity]))


def find_datasets(root: Path, scale_factor: int) -> tuple[list[CheckedSet], list[Finding]]:
    """Find the data sets below a folder: known ones, other folders of images, or the folder itself.

    Returns:
        the data sets, and an error for each one that cannot be used.

    Raises:
        DataError: the folder does not exist or contains no data set.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name a data root or a configuration")
    try:
        return _find_below(root, scale_factor)
    except OSError as error:
        raise DataError(f"{error.filename}: {explain(error)}") from error


def _find_below(root: Path, scale_factor: int) -> tuple[list[CheckedSet], list[Finding]]:
    specs: list[tuple[str, Purpose]] = []
    known: list[Path] = []
    for spec, folder in find_known(root):
        name, splits = name_and_splits(spec, "train")
        row = DATASETS[name]
        if row.track is None and folder in known:
            continue  # B100 is a split of BSDS500
        trains = not row.benchmark and (not splits or splits[0] in row.train)
        specs.append((spec, "train" if trains else "test"))
        known.append(folder)
    if not specs and is_one_set(root, scale_factor):
        try:
            found = resolve_custom(root, "", scale_factor)
        except DataError as error:
            return [], [Finding("error", "pairing", root.name, str(error))]
        dataset = CheckedSet(root.name, "train", found.pairs)
        return [dataset], [_unused(dataset.label, text) for text in found.warnings]
    specs += [(folder.name, "train") for folder in _other_folders(root, known)]
    if not specs:
        raise DataError(
            f"{root}: name a data root, a data set or a configuration; this folder contains no "
            "images"
        )
    datasets, findings = _resolve_all(specs, root, scale_factor)
    # A missing track of DIV2K is not a fault if others exist.
    tracks = {name for name, row in DATASETS.items() if row.track is not None}
    return datasets, [f for f in findings if f.dataset.partition(":")[0] not in tracks]


def datasets_of(
    specs: Mapping[Purpose, Sequence[str]], data_root: Path, scale_factor: int
) -> tuple[list[CheckedSet], list[Finding]]:
    """Resolve specifications by purpose; the result is that of :func:`find_datasets`."""
    named = [(spec, purpose) for purpose, each in specs.items() for spec in dict.fromkeys(each)]
    return _resolve_all(named, data_root, scale_factor)


def _resolve_all(
    specs: Sequence[tuple[str, Purpose]], data_root: Path, scale_factor: int
) -> tuple[list[CheckedSet], list[Finding]]:
    datasets, findings = [], []
    for spec, purpose in specs:
        try:
            found = resolve_with_warnings(spec, data_root, scale_factor, purpose)
        except DataError as error:
            findings.append(Finding("error", "pairing", spec, str(error)))
            continue
        name, splits = name_and_splits(spec, purpose)
        row = DATASETS.get(name.lower())
        label = f"{name}:{'+'.join(splits)}" if splits else name
        degraded = row is not None and row.track is not None
        checked = CheckedSet(label, purpose, found.pairs, degraded, found.other_side)
        datasets.append(checked)
        findings += [_unused(label, text) for text in found.warnings]
    return datasets, findings


def _unused(label: str, text: str) -> Finding:
    return Finding("warning", "unused", label, text)


def _other_folders(root: Path, known: Sequence[Path]) -> Iterator[Path]:
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        related = any(folder == k or folder in k.parents for k in known)
        if related or folder.name.startswith("."):
            continue
        try:
            if list_images(folder):
                yield folder
        except DataError:
            continue  # a folder that cannot be read is not a data set
