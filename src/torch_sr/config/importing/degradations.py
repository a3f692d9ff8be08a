"""Convert the degradations of Real-ESRGAN, whose keys all four programs have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch_sr.config.degradation import KERNELS
from torch_sr.config.importing.draft import Draft, is_off
from torch_sr.config.importing.leaves import Leaf

_RANGES = {
    "resize_range": "resize_range",
    "noise_range": "gaussian_range",
    "poisson_scale_range": "poisson_range",
    "jpeg_range": "jpeg_range",
    "blur_sigma": "blur.sigma",
    "betag_range": "blur.betag",
    "betap_range": "blur.betap",
}
_PROBABILITIES = {
    "gaussian_noise_prob": "gaussian_probability",
    "gray_noise_prob": "gray_noise_probability",
    "jpeg_prob": "jpeg_probability",
    "blur_prob": "blur.probability",
    "sinc_prob": "blur.sinc_probability",
}
_ROUND_KEYS = (
    *_RANGES,
    *_PROBABILITIES,
    *("resize_prob", "kernel_list", "kernel_prob", "blur_kernel_size", "kernel_range"),
    *("resize_mode_list", "resize_mode_prob"),
)
KEYS = frozenset(
    [
        *_ROUND_KEYS,
        *(f"{key}2" for key in _ROUND_KEYS),
        *("second_blur_prob", "final_sinc_prob", "final_kernel_range", "queue_size"),
        *("resize_mode_list3", "resize_mode_prob3", "lq_usm", "lq_usm_radius_range"),
        *("thicklines_prob", "gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm"),
    ]
)
"""The keys of the degradations, wherever a program has them."""
SECTION = "degradation"
"""Below this, the keys have the same place for all programs."""
_MODES = {"area", "bilinear", "bicubic"}
_SMALLEST = 1e-3  # of widths and exponents, which must be above 0
_KERNEL_SIZES = (7, 51)


def convert_degradations(draft: Draft, *, used: bool) -> None:
    """Convert all keys of the degradations.

    Args:
        draft: what is built.
        used: whether the other program degrades images with this file.
    """
    leaves = draft.below(SECTION)
    if not used:
        for leaf in leaves.values():
            draft.skip(leaf, "the file switches the degradations off")
        return
    draft.add({f"{SECTION}.probability": 1.0}, f"{draft.program} degrades every crop")
    _convert_round(draft, leaves, "", f"{SECTION}.first")
    _convert_round(draft, leaves, "2", f"{SECTION}.second")
    for key, target in (
        ("second_blur_prob", "second.blur.probability"),
        ("final_sinc_prob", "final_sinc_probability"),
    ):
        if key in leaves:
            share = _probability(draft, leaves[key])
            draft.take(leaves[key], {f"{SECTION}.{target}": share})
    _convert_sharpening(draft, leaves)
    for key, leaf in leaves.items():
        if not draft.is_reported(leaf):
            _convert_other(draft, key, leaf)


def _convert_round(draft: Draft, leaves: Mapping[str, Leaf], suffix: str, section: str) -> None:
    for name, target in _RANGES.items():
        if (leaf := leaves.get(name + suffix)) is not None:
            low, high = draft.numbers(leaf, 2)
            fitted, why = _FITTING[name]([low, high])
            draft.take(leaf, {f"{section}.{target}": fitted}, why)
    for name, target in _PROBABILITIES.items():
        if (leaf := leaves.get(name + suffix)) is not None:
            draft.take(leaf, {f"{section}.{target}": _probability(draft, leaf)})
    if (leaf := leaves.get(f"resize_prob{suffix}")) is not None:
        shares, why = _shares(draft, leaf, draft.numbers(leaf, 3))
        draft.take(leaf, {f"{section}.resize_probabilities": shares}, why)
    _convert_kernels(draft, leaves, suffix, section)


def _convert_kernels(draft: Draft, leaves: Mapping[str, Leaf], suffix: str, section: str) -> None:
    listed, given = leaves.get(f"kernel_list{suffix}"), leaves.get(f"kernel_prob{suffix}")
    if listed is not None and given is not None:
        names = draft.texts(listed)
        shares, why = _shares(draft, given, draft.numbers(given, len(names)))
        for name in names:
            if name not in KERNELS:
                raise draft.fault(listed, f"the kernels are {', '.join(KERNELS)}")
        kernels = {name: share for name, share in zip(names, shares, strict=True) if share}
        becomes = {f"{section}.blur.kernels": kernels}
        draft.take(listed, becomes)
        draft.take(given, becomes, why)
    size, span = leaves.get(f"blur_kernel_size{suffix}"), leaves.get(f"kernel_range{suffix}")
    if span is not None:
        low, high = draft.numbers(span, 2)
        largest = min(max(int(high) | 1, _KERNEL_SIZES[0]), _KERNEL_SIZES[1])
        why = "" if (low, high) == (7, largest) else "the smallest kernel has 7 pixels"
        draft.take(span, {f"{section}.blur.kernel_size": largest}, why)
    if size is not None:
        why = "kernel_range sets the sizes" if span else "its kernels always have 7 to 21 pixels"
        draft.skip(size, f"{draft.program} does not use it: {why}")


def _convert_sharpening(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    """Convert the unsharp masks of the targets: all losses have the same target here."""
    names = ("gt_usm", "l1_gt_usm", "percep_gt_usm")
    found = [leaves[name] for name in names if name in leaves]
    if not found:
        return
    sharpen = any(draft.switch(leaf) for leaf in found)
    for leaf in found:
        why = "" if leaf.value == sharpen else "all losses have the same target"
        draft.take(leaf, {f"{SECTION}.sharpen_targets": sharpen}, why)
    seen = leaves.get("gan_gt_usm")
    if seen is not None and draft.switch(seen) == sharpen:
        draft.skip(seen, "the discriminator sees the targets")
    elif seen is not None:
        draft.take(seen, {}, "the discriminator sees the same targets as the other losses")


def _convert_other(draft: Draft, key: str, leaf: Leaf) -> None:
    if key == "queue_size":
        draft.skip(leaf, "every crop is degraded on its own, so a batch needs no queue")
    elif is_off(leaf.value):
        draft.skip(leaf, "switched off")
    elif key.startswith("resize_mode_list"):
        if set(draft.texts(leaf)) <= _MODES:
            draft.skip(leaf, "area, bilinear and bicubic are equally likely")
        else:
            draft.take(leaf, {}, "area, bilinear and bicubic interpolation, equally likely")
    elif key.startswith("resize_mode_prob"):
        draft.take(leaf, {}, "area, bilinear and bicubic are equally likely")
    elif key == "final_kernel_range":
        draft.take(leaf, {}, "the sizes of the second round's kernels")
    elif key == "gan_gt_usm":
        draft.skip(leaf, "nothing is sharpened")
    elif key == "lq_usm_radius_range" and not draft.value(f"{SECTION}.lq_usm"):
        draft.skip(leaf, "lq_usm is off")
    else:
        draft.drop(leaf, "the degradations of torch-sr have no such step")


def _probability(draft: Draft, leaf: Leaf) -> float:
    value = draft.number(leaf)
    if not 0 <= value <= 1:
        raise draft.fault(leaf, "it must be a number from 0 to 1")
    return value


def _shares(draft: Draft, leaf: Leaf, weights: list[float]) -> tuple[list[float], str]:
    """Weights as probabilities that sum to 1, and what was changed."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise draft.fault(leaf, "the numbers must be 0 or more, and not all 0")
    if abs(total - 1) < 1e-6:
        return weights, ""
    return [
        weight / total for weight in weights
    ], "divided by their sum, because they must sum to 1"


def _as_they_are(ends: list[float]) -> tuple[list[Any], str]:
    return ends, ""


def _above_zero(ends: list[float]) -> tuple[list[Any], str]:
    fitted = [max(end, _SMALLEST) for end in ends]
    return fitted, "" if fitted == ends else "it must be above 0"


def _around_one(ends: list[float]) -> tuple[list[Any], str]:
    fitted = [min(max(ends[0], _SMALLEST), 1.0), max(ends[1], 1.0)]
    return (ends, "") if fitted == ends else (fitted, "the range must include 1")


def _qualities(ends: list[float]) -> tuple[list[Any], str]:
    fitted = [min(max(round(end), 1), 100) for end in ends]
    return fitted, "" if fitted == ends else "whole numbers from 1 to 100"


_FITTING: dict[str, Callable[[list[float]], tuple[list[Any], str]]] = {
    **dict.fromkeys(_RANGES, _as_they_are),
    "resize_range": _around_one,
    "jpeg_range": _qualities,
    **dict.fromkeys(("blur_sigma", "betag_range", "betap_range"), _above_zero),
}
