"""Describe the degradation of training crops, and note probable mistakes."""

from __future__ import annotations

from collections.abc import Iterator

from torch_sr.config import DegradationConfig
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.preflight.result import CheckResult


def check_degradation(run: CheckedRun, name: str) -> Iterator[CheckResult]:
    """The degradation of a stage and a note on it, if the configuration has one."""
    if not run.config.degradation.probability:
        return
    subject, pairs = f"{name} degradation", run.data[name].crops.pairs
    if pairs.num_made:
        yield CheckResult(subject, True, describe_degradation(run.config.degradation, pairs))
    note = note_on_degradation(pairs, run.data[name].validation)
    if note is not None:
        yield CheckResult(subject, True, note, note=True)


def describe_degradation(config: DegradationConfig, pairs: ImagePairs) -> str:
    """Describe which share of the crops is degraded, and how.

    Args:
        config: the degradation, with a probability above 0.
        pairs: the training images.
    """
    share = f"{100 * config.probability:.3g} % of the crops"
    if pairs.num_made < len(pairs):
        share += f" of {pairs.num_made} images (the others have LR of their own)"
    sharpened = "; targets are sharpened" if config.sharpen_targets else ""
    how = f"{_rounds(config)} of blur, resizing, noise and {_jpeg(config)}"
    return f"{share} have LR made by {how}{sharpened}"


def note_on_degradation(pairs: ImagePairs, validation: ImagePairs) -> str | None:
    """A note on a probable mistake; None if there is none.

    Args:
        pairs: the training images.
        validation: the validation images.
    """
    if not pairs.num_made:
        return (
            "no crop is degraded, because all images have LR of their own; name only their HR "
            "folder, such as FOLDER:HR"
        )
    if validation.num_made:
        return (
            f"{validation.num_made} validation images are not degraded; write degraded ones "
            "with 'torch-sr data degrade' and name their folder in val_datasets"
        )
    return None


def _rounds(config: DegradationConfig) -> str:
    share = config.second.probability
    return "two rounds" if share == 1 else "one round" if share == 0 else "one or two rounds"


def _jpeg(config: DegradationConfig) -> str:
    """JPEG with the range of its qualities in all rounds that use it."""
    rounds = [config.first] if config.second.probability == 0 else [config.first, config.second]
    ranges = [each.jpeg_range for each in rounds if each.jpeg_probability]
    if not ranges:
        return "no JPEG"
    return f"JPEG (quality {min(low for low, _ in ranges)} to {max(high for _, high in ranges)})"
