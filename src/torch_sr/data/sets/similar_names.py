"""Pair files with similar names, such as ``baby_HR`` and ``baby_LR``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_sr.data.sets.image_files import partner_key, stem
from torch_sr.data.sets.name_words import factor_of, image_key, is_low, role_of
from torch_sr.errors import DataError, ImageError
from torch_sr.images import read_size

Match = tuple[str, Path, Path]
"""The name of a pair, its HR file and its LR file."""


def match_similar(
    hr_files: Sequence[Path],
    hr_folder: Path,
    lr_files: Sequence[Path],
    lr_folder: Path,
    scale_factor: int,
) -> dict[Path, Path]:
    """Match files whose names differ by words such as ``HR`` and ``LR``, ``gt`` and ``lq``.

    A name that fits several files on one side is not matched.

    Args:
        hr_files, hr_folder: HR images, and the folder that their names are relative to.
        lr_files, lr_folder: LR images that have no partner yet, and their folder.
        scale_factor: files with another factor in their names are not matched.

    Returns:
        LR files by HR file.
    """
    low = [file for file in lr_files if factor_of(file.stem) in (None, scale_factor)]
    lows, highs = _grouped(low, lr_folder), _grouped(hr_files, hr_folder)
    return {
        found[0]: lows[key][0]
        for key, found in highs.items()
        if len(found) == 1 and len(lows.get(key, ())) == 1
    }


def match_within(files: Sequence[Path], folder: Path, scale_factor: int) -> list[Match]:
    """Find pairs such as ``baby_HR`` and ``baby_LR`` in one folder; empty if all are originals.

    Raises:
        DataError: some images are the low resolution of others, and some are unpaired or have
            another factor.
    """
    matches: list[Match] = []
    for group in _grouped(files, folder).values():
        lows = [file for file in group if is_low(file.stem)]
        highs = [file for file in group if file not in lows]
        if len(highs) == 1:
            name = stem(highs[0], folder)
            matches += [(name, highs[0], low) for low in _smaller(lows, highs[0], scale_factor)]
    if not matches:
        _refuse_other_names(files, scale_factor)
        return []
    paired = {file for _, high, low in matches for file in (high, low)}
    alone = [file for file in files if file not in paired]
    if alone:
        _, high, low = matches[0]
        raise DataError(
            f"{folder}: move high and low resolution to sub-folders HR and LR, or remove "
            f"{alone[0].name}: {low.name} is the low resolution of {high.name}, and "
            f"{alone[0].name} has no partner"
        )
    several = len({high for _, high, _ in matches}) < len(matches)
    return [(stem(low, folder) if several else name, high, low) for name, high, low in matches]


def refuse_low(files: Sequence[Path], file: Path, scale_factor: int) -> None:
    """Refuse a list of images if some are the low resolution of others.

    Raises:
        DataError: there are two such images, which the message names.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(image_key(path.stem), []).append(path)
    for group in groups.values():
        for low in (path for path in group if is_low(path.stem) or is_low(path.parent.name)):
            for high in group:
                if high != low and list(_smaller([low], high, scale_factor)):
                    raise DataError(
                        f"{file}: write {high} and {low} on one line, separated by a tab: the "
                        f"second is 1/{scale_factor} the size of the first"
                    )


def _refuse_other_names(files: Sequence[Path], scale_factor: int) -> None:
    """Refuse ``gt.png`` next to ``lq1.png`` and ``lq2.png``: their names do not define pairs."""
    seen: dict[tuple[Path, str], Path] = {}
    for file in files:
        if (role := role_of(file.stem)) is not None:
            seen.setdefault((file.parent, role[0]), file)
    for (folder, role_name), low in seen.items():
        high = seen.get((folder, "high"))
        if role_name == "low" and high and list(_smaller([low], high, scale_factor)):
            raise DataError(
                f"{folder}: move high and low resolution to sub-folders HR and LR, with the same "
                f"file names: {low.name} is 1/{scale_factor} the size of {high.name}"
            )


def _grouped(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    for file in files:
        grouped.setdefault(partner_key(file, folder), []).append(file)
    return grouped


def _smaller(lows: Sequence[Path], high: Path, scale_factor: int) -> Iterator[Path]:
    """Those of ``lows`` that are ``1 / scale_factor`` of the size of ``high``.

    Raises:
        DataError: one is smaller by another factor.
    """
    for low in lows:
        try:
            size, small = read_size(high), read_size(low)
        except ImageError:
            continue  # reported when it is decoded
        factor = round(size[0] / small[0])
        if not factor or any(a // factor != b for a, b in zip(size, small, strict=True)):
            continue
        if factor == scale_factor:
            yield low
        elif factor > 1:
            raise DataError(
                f"{low.parent}: move {low.name} and all low resolution to another folder, or use "
                f"scale factor {factor}: it is 1/{factor} the size of {high.name}, not "
                f"1/{scale_factor}"
            )
