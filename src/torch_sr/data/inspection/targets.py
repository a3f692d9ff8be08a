"""Find the data sets that a configuration, a folder or a name refers to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_sr.config import Hyperparameters, load_config
from torch_sr.data.inspection.check import datasets_of, find_datasets
from torch_sr.data.inspection.findings import CheckedSet, Finding
from torch_sr.data.sets.resolve import find_root, specs_of_config


@dataclass(frozen=True)
class CheckTarget:
    """Data sets to check.

    Args:
        datasets: the data sets.
        findings: errors and warnings from finding them.
        scale_factor: between the two resolutions.
        crop_size: height and width of the crops of a training; None if unknown.
    """

    datasets: list[CheckedSet]
    findings: list[Finding]
    scale_factor: int
    crop_size: tuple[int, int] | None = None


def find_target(target: str, data_root: Path, scale_factor: int | None = None) -> CheckTarget:
    """Find the data sets of a target.

    Args:
        target: a configuration, a folder, or a data set by name; a folder in the working directory
            has priority over one in the data root.
        data_root: folder of the data sets.
        scale_factor: between the two resolutions; by default that of the configuration, or 4.

    Raises:
        DataError: a folder contains no data set.
        ConfigError: the configuration cannot be read.
    """
    if Path(target).suffix.lower() == ".json" and Path(target).is_file():
        config = load_config(target)
        scale_factor = scale_factor or config.scale_factor
        datasets, findings = datasets_of(specs_of_config(config), data_root, scale_factor)
        return CheckTarget(datasets, findings, scale_factor, _largest_crop(config))
    scale_factor = scale_factor or 4
    if Path(target).is_dir():
        return CheckTarget(*find_datasets(Path(target), scale_factor), scale_factor)
    folder = find_root(target, data_root)
    return CheckTarget(*datasets_of({"train": [target]}, folder, scale_factor), scale_factor)


def _largest_crop(config: Hyperparameters) -> tuple[int, int] | None:
    """Height and width of the largest crop of all stages; None if whole images are used."""
    crops = [stage.cr_patch_size for stage in config.stages.values() if stage.cr_patch_size]
    return max(crops, default=None)
