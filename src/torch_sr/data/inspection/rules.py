"""Rules that turn inspected images into findings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from torch_sr.aliases import Array
from torch_sr.data.inspection.findings import CheckedSet, Finding, Severity
from torch_sr.data.inspection.pair import FLAT, InspectedPair
from torch_sr.data.inspection.perceptual_hashes import find_matches, known_benchmarks
from torch_sr.data.sets.file_pairs import describe_unpaired, unpaired_lr
from torch_sr.data.sets.table import DATASETS

SHIFT_LIMITS = (0.03, 0.1)
"""Median shifts of a set, in LR pixels, from which there is a warning and an error. The LR of
papers is within 0.0005; nearest neighbor at x2 is off by 0.25."""
COLOR_LIMIT = 2.0
"""Median color difference of a set, of 255, from which there is an error. The results of other
filters differ by at most 0.4."""
_SHOWN = 3


def _by_dataset(
    images: Sequence[InspectedPair],
) -> Iterator[tuple[CheckedSet, list[InspectedPair]]]:
    grouped: dict[int, list[InspectedPair]] = defaultdict(list)
    for image in images:
        grouped[id(image.dataset)].append(image)
    for group in grouped.values():
        yield group[0].dataset, group


def find_faults(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find images that cannot be read, are too small, or do not fit their partner."""
    for dataset, group in _by_dataset(images):
        by_check: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for image in group:
            for check, message in image.faults:
                by_check[check].append((str(image.pair.hr), message))
        for check, faults in by_check.items():
            more = f", and {_count(len(faults) - 1, 'more such image')}" if len(faults) > 1 else ""
            remedy = "replace it or leave it out: " if check == "corrupt" else ""
            names = tuple(name for name, _ in faults)
            yield Finding(
                "error",
                check,
                dataset.label,
                remedy + faults[0][1] + more,
                names,
                float(len(faults)),
            )


def find_shifts(images: Sequence[InspectedPair], scale_factor: int) -> Iterator[Finding]:
    """Find LR that is shifted relative to HR."""
    for dataset, group in _by_dataset(images):
        shifts = np.array([image.shift for image in group if image.shift is not None])
        if not len(shifts):
            continue
        middle = np.median(shifts, axis=0)
        size = float(np.abs(middle).max())
        words = (
            f"LR is shifted by {_pixels(middle)} LR pixels ({_pixels(middle * scale_factor)} HR "
            "pixels) relative to HR, median over the set"
        )
        if size < SHIFT_LIMITS[0]:
            yield from _find_outliers(dataset, group, middle)
        elif dataset.degraded:
            yield Finding("note", "shift", dataset.label, words, value=size)
        else:
            severity: Severity = "error" if size >= SHIFT_LIMITS[1] else "warning"
            remedy = "; make LR with a filter centered on its pixels, such as that of torch-sr"
            yield Finding(severity, "shift", dataset.label, words + remedy, value=size)


def _find_outliers(
    dataset: CheckedSet, group: Sequence[InspectedPair], middle: Array
) -> Iterator[Finding]:
    """Find single LR images whose shift differs from that of their set."""
    outliers = [
        image
        for image in group
        if image.shift is not None and np.abs(image.shift - middle).max() >= SHIFT_LIMITS[1]
    ]
    if outliers and not dataset.degraded:
        worst = max(outliers, key=lambda image: max(map(abs, image.shift or (0, 0))))
        names = tuple(str(image.pair.lr) for image in outliers)
        text = (
            f"check {len(outliers)} of {len(group)} LR images, whose shift differs from that of "
            f"the set; the largest is {_pixels(np.array(worst.shift))} LR pixels, of "
            f"{worst.pair.lr}"
        )
        yield Finding("warning", "shift", dataset.label, text, names)


def _pixels(shift: Array) -> str:
    return f"{shift[0]:+.2f} down, {shift[1]:+.2f} right"


def find_colors(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find LR whose colors differ from those of HR."""
    for dataset, group in _by_dataset(images):
        known = [image for image in group if image.color_difference is not None]
        if not known:
            continue
        difference = float(np.median([image.color_difference for image in known]))
        if difference < COLOR_LIMIT:
            continue
        causes = Counter(image.color_cause.split(" of ")[0] for image in known)
        likely = causes.most_common(1)[0][0]
        example = next(i.color_cause for i in known if i.color_cause.split(" of ")[0] == likely)
        because = f"; {example} would explain it" if example else ""
        text = (
            f"the colors of LR differ from those of HR by {difference:.1f} levels of 255{because}"
        )
        severity: Severity = "note" if dataset.degraded else "error"
        yield Finding(severity, "color", dataset.label, text, value=difference)


def find_kinds(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Count gray images, alpha channels and depths other than 8 bits."""
    for dataset, group in _by_dataset(images):
        kinds = Counter(image.kind for image in group if image.kind)
        if kinds:
            words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            text = f"{words}, of {len(group)} images; the configuration decides how they are read"
            yield Finding("note", "kind", dataset.label, text, value=float(sum(kinds.values())))


def find_flat(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find nearly blank images in sets for validation and tests."""
    for dataset, group in _by_dataset(images):
        flat = [str(i.pair.hr) for i in group if i.hashes is not None and i.contrast < FLAT]
        if flat and dataset.purpose != "train":
            text = (
                f"leave out {_count(len(flat), 'nearly blank image')} ({_some(flat)}): the PSNR is "
                "very high or infinite for any model"
            )
            yield Finding("warning", "flat", dataset.label, text, tuple(flat), float(len(flat)))


def find_losses(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find contents of files that training ignores: frames, pages, color profiles."""
    for dataset, group in _by_dataset(images):
        by_text: dict[str, list[str]] = defaultdict(list)
        for image in group:
            if image.frames > 1:
                by_text["only the first of several frames or pages is used"].append(_name(image))
            if image.profile:
                words = f"convert to sRGB: the color profile is {image.profile}"
                by_text[f"{words}, and the values are used as sRGB"].append(_name(image))
            for note in image.notes:
                by_text[note].append(_name(image))
        for text, names in by_text.items():
            words = f"{_count(len(names))} ({_some(names)}): {text}"
            files = tuple(names)
            yield Finding("warning", "loss", dataset.label, words, files, float(len(names)))


def _name(image: InspectedPair) -> str:
    return str(image.pair.hr)


def find_unpaired(datasets: Sequence[CheckedSet]) -> Iterator[Finding]:
    """Find LR images without a partner."""
    for dataset in datasets:
        left = unpaired_lr(dataset.pairs, dataset.other_side)
        if left:
            text = describe_unpaired(left)
            names = tuple(map(str, left))
            yield Finding("warning", "pairing", dataset.label, text, names, float(len(left)))


def find_benchmarks(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find images of the published benchmarks."""
    for dataset, group in _by_dataset(images):
        hashed = [image for image in group if image.hashes is not None]
        if not hashed:
            continue
        hashes = _hashes(hashed)
        for name, known in known_benchmarks().items():
            matches = list(find_matches(hashes, known))
            if not matches:
                continue
            files = tuple(sorted({str(hashed[mine].pair.hr) for mine, *_ in matches}))
            held = len({other for _, other, _ in matches})
            part = f"all {held}" if held == len(known) else f"{held} of the {len(known)}"
            title = DATASETS[name].title
            text = f"contains {part} images of {title} ({_some(files)})"
            if dataset.purpose == "train":
                text += f"; leave them out, or do not report {title}"
                yield Finding("error", "benchmark", dataset.label, text, files, float(held))
            elif dataset.label != name:
                yield Finding("note", "benchmark", dataset.label, text, files, float(held))


def find_duplicates(images: Sequence[InspectedPair]) -> Iterator[Finding]:
    """Find duplicates: within a set, or in a set for training and one for validation or tests."""
    groups = [
        (dataset, [image for image in group if image.hashes is not None])
        for dataset, group in _by_dataset(images)
    ]
    groups = [(dataset, group) for dataset, group in groups if group]
    for number, (dataset, group) in enumerate(groups):
        own = {
            tuple(sorted((str(a.pair.hr), str(b.pair.hr))))
            for a, b in _matches(group, group)
            if a.pair.hr != b.pair.hr
        }
        if own:
            twice = tuple(sorted({name for pair in own for name in pair}))
            first = min(own)
            more = f", and {_count(len(own) - 1, 'more pair')}" if len(own) > 1 else ""
            text = f"remove duplicates: {first[0]} and {first[1]} show the same image{more}"
            yield Finding("warning", "duplicate", dataset.label, text, twice, float(len(own)))
        for other, others in groups[number + 1 :]:
            yield from _find_leaks(dataset, group, other, others)


def _find_leaks(
    dataset: CheckedSet, group: list[InspectedPair], other: CheckedSet, others: list[InspectedPair]
) -> Iterator[Finding]:
    """Find images for training that are also used for validation or tests."""
    if (dataset.purpose == "train") == (other.purpose == "train"):
        return
    if dataset.purpose != "train":
        dataset, group, other, others = other, others, dataset, group
    shared = sorted({str(mine.pair.hr) for mine, _ in _matches(group, others)})
    if shared:
        text = (
            f"leave {len(shared)} of {len(group)} images ({_some(shared)}) out here or in "
            f"{other.label}, which contains them too and is for {other.purpose}"
        )
        yield Finding("error", "duplicate", dataset.label, text, tuple(shared), float(len(shared)))


def _matches(
    some: list[InspectedPair], others: list[InspectedPair]
) -> Iterator[tuple[InspectedPair, InspectedPair]]:
    for first, second, _ in find_matches(_hashes(some), _hashes(others)[:, 0]):
        yield some[first], others[second]


def _hashes(images: Sequence[InspectedPair]) -> Array:
    return np.stack([image.hashes for image in images if image.hashes is not None])


def _count(number: int, noun: str = "image") -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(Path(name).name for name in names[:_SHOWN])
    return shown + (" …" if len(names) > _SHOWN else "")
