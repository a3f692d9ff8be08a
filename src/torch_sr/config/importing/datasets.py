"""Convert the data sets of an option file: folders, crops, batches, augmentation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath

from torch_sr.config.importing.draft import Draft, is_off
from torch_sr.config.importing.leaves import Leaf

_TRAIN = "datasets.train"
_LIST_REMEDY = "to use some of the images only, name an image list (docs/guides/data.md)"


def convert_training_data(draft: Draft) -> None:
    """Convert ``datasets.train``."""
    leaves = draft.below(_TRAIN)
    stage = draft.stage
    roots = _roots(draft, leaves)
    if not roots:
        raise draft.absent("add datasets.train.dataroot_gt, the folder of the images")
    draft.options["--data-root"] = "."
    _take_roots(draft, leaves, {f"{stage}.train_datasets": roots})
    _convert_crop(draft, leaves)
    _convert_batch(draft, leaves)
    _convert_augmentation(draft, leaves)
    for key, leaf in leaves.items():
        if not draft.is_reported(leaf):
            _convert_other(draft, key, leaf)


def convert_validation_data(draft: Draft) -> None:
    """Convert ``datasets.val`` and ``datasets.val_1`` …; without them, images are set aside."""
    key = f"{draft.stage}.val_datasets"
    names = _names(draft, "val")
    enabled = draft.value("val.val_enabled") is not False
    specs: list[str] = []
    for name in names:
        specs += _roots(draft, draft.below(f"datasets.{name}"))
    for name in names:
        leaves = draft.below(f"datasets.{name}")
        if enabled and _roots(draft, leaves):
            _take_roots(draft, leaves, {key: specs})
        for inner, leaf in leaves.items():
            if draft.is_reported(leaf):
                continue
            if not enabled:
                draft.skip(leaf, "val_enabled is false")
            elif inner == "dataroot_lq":
                draft.drop(leaf, "a validation needs originals (dataroot_gt) to compare with")
            else:
                _convert_other(draft, inner, leaf)
    if not enabled:
        draft.config[key] = []
    elif not specs:
        why = "val_datasets is not set: about a tenth of the images, at most 20, validates"
        draft.add({}, why)


def find_test_sets(draft: Draft) -> list[tuple[dict[str, Leaf], list[str]]]:
    """The data sets of a test, each with its values and the specifications of its pairs."""
    found = []
    for name in [*_names(draft, "test"), *_names(draft, "val")]:
        leaves = draft.below(f"datasets.{name}")
        found.append((leaves, _roots(draft, leaves)))
    return found


def convert_other(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    """Report the values of a data set that name no folder."""
    for key, leaf in leaves.items():
        if not draft.is_reported(leaf):
            _convert_other(draft, key, leaf)


def _names(draft: Draft, phase: str) -> list[str]:
    """The data sets of a phase: ``test_1``, ``test_2``."""
    names = [key.partition(".")[0] for key in draft.below("datasets")]
    return [name for name in dict.fromkeys(names) if name.partition("_")[0] == phase]


# --- Folders --------------------------------------------------------------------------------------


def _roots(draft: Draft, leaves: Mapping[str, Leaf]) -> list[str]:
    """The specifications of a data set; none without high resolution."""
    gt, lq = leaves.get("dataroot_gt"), leaves.get("dataroot_lq")
    if gt is None or is_off(gt.value):
        return []
    high = _folders(draft, gt)
    low = [] if lq is None or is_off(lq.value) else _folders(draft, lq)
    if low and len(low) != len(high) and lq is not None:
        raise draft.fault(lq, f"it must name {len(high)} folders, one for each of dataroot_gt")
    if not low:
        return [_single(draft, gt, folder) for folder in high]
    return [_pair(draft, gt, *both) for both in zip(high, low, strict=True)]


def _folders(draft: Draft, leaf: Leaf) -> list[str]:
    folders = draft.texts(leaf)
    if not all(folders):
        raise draft.fault(leaf, "remove the empty name, or name a folder")
    return folders


def _take_roots(draft: Draft, leaves: Mapping[str, Leaf], becomes: Mapping[str, object]) -> None:
    draft.take(leaves["dataroot_gt"], becomes)
    lq = leaves.get("dataroot_lq")
    if lq is not None and not is_off(lq.value):
        draft.take(lq, becomes)


def _single(draft: Draft, leaf: Leaf, folder: str) -> str:
    """A folder of originals, whose LR is always made: ``parent:folder``."""
    path = _posix(folder)
    parent, name = os.path.split(path)
    if "+" in name or ":" in name or not name or name in (".", ".."):
        return path
    _refuse_commas(draft, leaf, path)
    return f"{parent or '.'}:{name}"


def _pair(draft: Draft, leaf: Leaf, high: str, low: str) -> str:
    """Two folders: ``common:high<low``."""
    first, second = _posix(high), _posix(low)
    try:
        common = os.path.commonpath([first, second])
    except ValueError:  # one is absolute
        common = ""
    if common.startswith("/") != first.startswith("/") or _drive(first) != _drive(second):
        raise draft.fault(
            leaf, f"move it to the same disk as {low}; they must have a common folder"
        )
    if common in (first, second):  # one is inside the other
        common = str(PurePosixPath(common).parent)
    parts = [os.path.relpath(path, common or ".") for path in (first, second)]
    if any(sign in part for part in parts for sign in "+:<"):
        raise draft.fault(leaf, "rename the folders: +, : and < separate in torch-sr")
    _refuse_commas(draft, leaf, first)
    return f"{common or '.'}:{'<'.join(parts)}"


def _refuse_commas(draft: Draft, leaf: Leaf, path: str) -> None:
    if '"' in path or "\n" in path:
        raise draft.fault(leaf, "rename the folder: its name has quotes or line breaks")


def _posix(folder: str) -> str:
    """A folder with slashes, as it is written on Windows too."""
    if "\\" in folder or _drive(folder):
        return PureWindowsPath(folder).as_posix()
    return str(PurePosixPath(folder))


def _drive(folder: str) -> str:
    return PureWindowsPath(folder).drive.lower()


# --- Crops, batches, augmentation -----------------------------------------------------------------


def _convert_crop(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    """Convert the size of the crops, of high (``gt_size``) or low resolution (``lq_size``)."""
    scale, key = draft.scale_factor, f"{draft.stage}.cr_patch_size"
    top, own = draft.find("gt_size"), leaves.get("gt_size")
    lq = leaves.get("lq_size")
    leaf = next((found for found in (lq, top, own) if found and not is_off(found.value)), None)
    if leaf is None:
        raise draft.absent("add the size of the crops, gt_size")
    given = draft.whole(leaf)
    if given < 1:
        raise draft.fault(leaf, "it must be 1 or more")
    side, why = given * scale if leaf is lq else given, ""
    if leaf is lq and scale > 1:
        why = f"torch-sr counts the pixels of high resolution, {scale} times as many"
    elif side % scale:
        side = max(scale, side // scale * scale)
        why = f"the crops must be multiples of {scale}"
    draft.take(leaf, {key: [side, side]}, why)
    for other in (top, own):
        if other is not None and other is not leaf:
            equal = other.value == leaf.value
            if equal or is_off(other.value):
                draft.skip(other, "the same as the other size of crops")
            else:
                draft.take(other, {}, f"the size in line {leaf.line} is used")


def _convert_batch(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    leaf, parts = leaves.get("batch_size_per_gpu"), leaves.get("accum_iter")
    if leaf is None:
        raise draft.absent("add the batch size")
    size = draft.whole(leaf)
    count = 1 if parts is None or parts.value is None else max(1, draft.whole(parts))
    if size < 1:
        raise draft.fault(leaf, "it must be 1 or more")
    why = f"torch-sr counts the crops of a step, {count} times as many" if count > 1 else ""
    draft.take(leaf, {"batch_size": size * count}, why)
    if parts is not None and count > 1:
        draft.take(parts, {"--accumulate": count})
    elif parts is not None:
        draft.skip(parts, "a mini-batch is computed at once")
    workers = leaves.get("num_worker_per_gpu")
    if workers is not None and workers.value is not None:
        draft.take(workers, {"--num-workers": draft.whole(workers)})


def _convert_augmentation(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    key = f"{draft.stage}.augmentation"
    flip, turn = leaves.get("use_hflip"), leaves.get("use_rot")
    flips = flip is not None and draft.switch(flip)
    turns = turn is not None and draft.switch(turn)
    spatial = "dihedral" if flips or turns else "none"
    becomes = {f"{key}.spatial": spatial}
    partly = flips != turns
    if flip is None and turn is None:
        draft.add(becomes, "the file neither flips nor turns the crops")
    if flip is not None:
        draft.take(flip, becomes, "the crops are also turned" if partly and flips else "")
    if turn is not None:
        draft.take(turn, becomes, "all eight flips and turns are equally likely" if partly else "")
    if not draft.is_gan:
        plain = {f"{key}.compression": 0.0, f"{key}.coarse_dropout": 0.0}
        draft.add(plain, f"{draft.program} does not change the crops otherwise")


def _convert_other(draft: Draft, key: str, leaf: Leaf) -> None:
    """Report a value of a data set that has no setting."""
    if key in _NOT_NEEDED:
        draft.skip(leaf, _NOT_NEEDED[key])
    elif key == "filename_tmpl":
        draft.skip(leaf, "low resolution is found by name: baby, babyx4, baby_x4, baby_LR")
    elif key.startswith("io_backend"):
        if key == "io_backend.type" and leaf.value == "disk":
            draft.skip(leaf, "images are read from files, and cached decoded")
        else:
            draft.drop(leaf, "there is no LMDB: name the folder of the images")
    elif key in ("meta_info", "meta_info_file"):
        draft.drop(leaf, f"all images of the folder are used; {_LIST_REMEDY}")
    elif key in ("mean", "std", "color"):
        draft.drop(leaf, "images are RGB in [0, 1], or gray with img_channels 1")
    elif key in ("augmentation", "aug_prob"):
        plain = leaf.value in (["none"], "none")
        if plain:
            draft.skip(leaf, "switched off")
        else:
            draft.drop(leaf, "mixup, cutmix, resizemix and cutblur do not exist here")
    else:
        draft.drop(leaf, "data sets have no such setting here")


_NOT_NEEDED = {
    "name": "a data set has the name of its folder",
    "type": "the folders decide whether low resolution is read or made",
    "phase": "its section decides",
    "scale": "the scale factor of the networks",
    "use_shuffle": "crops are always shuffled",
    "dataset_enlarge_ratio": "intervals count steps, so an epoch may be short",
    "prefetch_mode": "the next batch is always prepared meanwhile",
    "num_prefetch_queue": "the next batch is always prepared meanwhile",
    "prefetch_factor": "the next batch is always prepared meanwhile",
    "pin_memory": "chosen by the device",
    "persistent_workers": "workers are kept",
}
