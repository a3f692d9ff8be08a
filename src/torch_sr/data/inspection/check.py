"""What is wrong with data sets, before a training finds out: ``torch-sr data check``.

Every image is decoded once. Of each pair its sizes, the shift and the colours of its low resolution
are compared with what MATLAB's bicubic makes; of all sets together, which pictures occur twice, and
which are of a benchmark. The doctor reports and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.data.inspection import rules
from torch_sr.data.inspection.findings import CheckedSet, CheckReport, Finding, Severity
from torch_sr.data.inspection.pair import inspect_pair
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
    """Look at every image of some sets, and at all of them together.

    Args:
        datasets: see :func:`find_datasets` and :func:`datasets_of`.
        scale_factor: between the two resolutions.
        crop_size: height and width of the crops of a training, which images have to hold.
        findings: what is known already.
        workers: threads; all cores by default.
        progress: called with the images done and in all.
    """
    jobs = [(dataset, pair) for dataset in datasets for pair in dataset.pairs]
    images = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        done = pool.map(lambda job: inspect_pair(job[0], job[1], scale_factor, crop_size), jobs)
        for number, image in enumerate(done, start=1):
            images.append(image)
            if progress is not None:
                progress(number, len(jobs))
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
    """The sets below a folder: those known by name, other folders of images, or the folder itself.

    Returns:
        The sets, and what kept others from being read.

    Raises:
        DataError: when there is no such folder, or nothing in it.
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
        learns = not row.benchmark and (not splits or splits[0] in row.train)
        specs.append((spec, "train" if learns else "test"))
        known.append(folder)
    if not specs and is_one_set(root, scale_factor):
        try:
            found = resolve_custom(root, "", scale_factor)
        except DataError as error:
            return [], [Finding("error", "pairing", root.name, str(error))]
        dataset = CheckedSet(root.name, "train", found.pairs)
        return [dataset], [_remark(dataset.label, text) for text in found.warnings]
    specs += [(folder.name, "train") for folder in _other_folders(root, known)]
    if not specs:
        raise DataError(f"{root}: holds no images; name a data root, a data set or a configuration")
    datasets, findings = _resolve_all(specs, root, scale_factor)
    # A track that is not there is not missed where others of the data set are.
    tracks = {name for name, row in DATASETS.items() if row.track is not None}
    return datasets, [f for f in findings if f.dataset.partition(":")[0] not in tracks]


def datasets_of(
    specs: Mapping[Purpose, Sequence[str]], data_root: Path, scale_factor: int
) -> tuple[list[CheckedSet], list[Finding]]:
    """The sets that a configuration names, by purpose; returns as :func:`find_datasets`."""
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
        datasets.append(CheckedSet(label, purpose, found.pairs, degraded))
        findings += [_remark(label, text) for text in found.warnings]
    return datasets, findings


def _remark(label: str, text: str) -> Finding:
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
            continue  # it may not be read: it is nobody's data set
