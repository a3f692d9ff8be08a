"""Convert the settings of a run, which are options of ``torch-sr train``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch_sr.config.importing.draft import Draft, is_off
from torch_sr.config.importing.leaves import Leaf

_NOT_IN_NAMES = re.compile(r"[^\w.-]")
_LONGEST_NAME = 100
_METRICS = {"calculate_lpips": "lpips", "calculate_dists": "dists", "calculate_niqe": "niqe"}
_BASIC_METRICS = ("calculate_psnr", "calculate_ssim")
_NO_MIXING = "mixup, cutmix, resizemix and cutblur do not exist here"
_RESUME = "start from its models: -l experiments/NAME/models/net_g_5000.pth"


def convert_run(draft: Draft) -> None:
    """Convert name, devices, precision, start, intervals and logs."""
    _convert_name(draft)
    _convert_seed(draft)
    _convert_devices(draft)
    _convert_precision(draft)
    _convert_start(draft)
    _convert_validation(draft)
    _convert_logs(draft)
    _convert_rest(draft)


def _convert_name(draft: Draft) -> None:
    leaf = draft.find("name")
    if leaf is None or is_off(leaf.value):
        return
    name, why = run_name(draft.text(leaf))
    draft.take(leaf, {"--name": name}, why)


def run_name(given: str) -> tuple[str, str]:
    """A name for a run or a folder of results, and what was changed.

    >>> run_name("../x y")[0]
    'x-y'
    """
    name = _NOT_IN_NAMES.sub("-", given).lstrip("_.-")[:_LONGEST_NAME] or "imported"
    return name, "" if name == given else "names have letters, digits, '_', '-' and '.'"


def convert_param_key(draft: Draft, leaf: Leaf) -> None:
    """Convert ``path.param_key_g``: which weights of a checkpoint are read."""
    if leaf.value in (None, "params_ema"):
        draft.skip(leaf, "found in the file: params_ema, if it is there")
    else:
        draft.take(leaf, {}, "params_ema is read, if the file has it")


def _convert_seed(draft: Draft) -> None:
    leaf = draft.find("manual_seed")
    if leaf is not None and leaf.value is not None:
        draft.take(leaf, {"seed": draft.whole(leaf)})


def _convert_devices(draft: Draft) -> None:
    leaf = draft.find("num_gpu")
    if leaf is None:
        return
    if leaf.value == "auto":
        draft.skip(leaf, "all GPUs are used, as there")
    elif (count := draft.whole(leaf)) == 0:
        draft.take(leaf, {"--device": "cpu"})
    elif count < 0:
        draft.take(leaf, {}, "all GPUs are used")
    else:
        draft.take(leaf, {"--devices": count})


def _convert_precision(draft: Draft) -> None:
    mixed, bf16 = draft.find("use_amp"), draft.find("amp_bf16")
    on = mixed is not None and draft.switch(mixed)
    if mixed is not None:
        kind = "bf16" if bf16 is not None and draft.switch(bf16) else "fp16"
        if on:
            draft.take(mixed, {"--precision": kind})
        else:
            draft.skip(mixed, "fp32, as there")
        if bf16 is not None and on:
            draft.take(bf16, {"--precision": kind})
    if bf16 is not None and not draft.is_reported(bf16):
        draft.skip(bf16, "use_amp is off")
    _convert_switch(draft, "compile", False, "--compile")
    _convert_switch(draft, "use_channels_last", True, "--no-channels-last")
    if (mode := draft.find("compile_mode")) is not None:
        if draft.value("compile") and mode.value != "default":
            draft.take(mode, {}, "torch.compile has its default mode")
        else:
            draft.skip(mode, "the default mode of torch.compile")


def _convert_switch(draft: Draft, key: str, usual: bool, flag: str) -> None:
    """A switch of the command.

    Args:
        draft: what is built.
        key: of the other program.
        usual: what torch-sr does without the option.
        flag: the option that does the opposite.
    """
    leaf = draft.find(key)
    if leaf is not None and draft.switch(leaf) == usual:
        draft.skip(leaf, "the default of torch-sr")
    elif leaf is not None:
        draft.take(leaf, {flag: None})


def _convert_start(draft: Draft) -> None:
    """Convert ``path``: the model that the training starts from."""
    start = draft.find("path.pretrain_network_g")
    named = start is not None and not is_off(start.value)
    if start is not None and named:
        draft.take(start, {"--load-checkpoint": draft.path(start)})
    strict = draft.find("path.strict_load_g")
    if strict is not None:
        if named and not draft.switch(strict):
            draft.take(strict, {"--partial": None})
        else:
            draft.skip(strict, "all parameters must fit, as there" if named else "no model to load")
    if (param_key := draft.find("path.param_key_g")) is not None:
        convert_param_key(draft, param_key)
    for leaf in draft.below("path").values():
        if not draft.is_reported(leaf):
            _convert_path(draft, leaf)


def _convert_path(draft: Draft, leaf: Leaf) -> None:
    name = str(leaf.path[-1])
    if name == "resume_state":
        draft.drop(leaf, f"a training of {draft.program} is not resumed; {_RESUME}")
    elif name in ("strict_load_d", "param_key_d"):
        draft.skip(leaf, "the discriminator starts from random weights")
    elif name == "pretrain_network_d":
        draft.drop(leaf, "the discriminator starts from random weights")
    elif name == "experiments_root":
        draft.take(
            leaf,
            {"--out": draft.path(leaf)} if leaf.value else {},
            "models go to saved_models/ there",
        )
    else:
        draft.drop(leaf, "files have their places below --out")


def _convert_validation(draft: Draft) -> None:
    """Convert ``val``."""
    leaves = draft.below("val")
    enabled = leaves.get("val_enabled")
    if enabled is not None and not draft.switch(enabled):
        draft.take(enabled, {f"{draft.stage}.val_datasets": []})
        for leaf in leaves.values():
            if not draft.is_reported(leaf):
                draft.skip(leaf, "val_enabled is false")
        return
    if enabled is not None:
        draft.skip(enabled, "a training with val_datasets validates")
    frequency = leaves.get("val_freq")
    if frequency is not None and not is_off(frequency.value):
        steps = draft.whole(frequency)
        draft.take(frequency, {"--validation-interval": f"{steps} steps"})
    _convert_metrics(draft, "--val-metrics")
    for key, leaf in leaves.items():
        if draft.is_reported(leaf):
            continue
        if key in ("save_img", "save_lq"):
            draft.skip(leaf, "four validation images are in the logs (--image-interval)")
        elif key in ("tile", "tile_size", "tile_overlap", "pbar", "metrics_enabled"):
            draft.skip(leaf, "large images are cut into tiles by themselves; progress is shown")
        else:
            draft.drop(leaf, "validations have no such setting here")


def _convert_metrics(draft: Draft, option: str) -> list[str]:
    """Convert ``val.metrics`` to an option, and return the metrics besides PSNR and SSIM."""
    groups: dict[str, dict[str, Leaf]] = {}
    for key, leaf in draft.below("val.metrics").items():
        name, _, inner = key.partition(".")
        groups.setdefault(name, {})[inner] = leaf
    extra = [
        _METRICS[str(leaves["type"].value)]
        for leaves in groups.values()
        if "type" in leaves and str(leaves["type"].value) in _METRICS
    ]
    for leaves in groups.values():
        kind = "" if "type" not in leaves else str(leaves["type"].value)
        for inner, leaf in leaves.items():
            if inner == "type" and kind in _METRICS:
                draft.take(leaf, {option: ",".join(extra)})
            elif kind in _METRICS or inner == "better":
                draft.skip(leaf, "each metric has its own direction")
            elif kind in _BASIC_METRICS:
                _convert_protocol(draft, inner, leaf)
            else:
                draft.drop(leaf, "no such metric; lpips, dists, niqe and brisque exist")
    return extra


def _convert_protocol(draft: Draft, inner: str, leaf: Leaf) -> None:
    """A setting of PSNR or SSIM, which validations always measure on luma."""
    if inner == "type":
        draft.skip(leaf, "PSNR and SSIM are always measured")
    elif inner == "crop_border" and leaf.value == draft.scale_factor:
        draft.skip(leaf, "as many pixels as the scale factor are cropped, as there")
    elif inner == "test_y_channel" and leaf.value is True:
        draft.skip(leaf, "measured on luma, as there")
    elif inner == "test_y_channel":
        draft.take(leaf, {}, "validations measure luma, whose values are higher than those of RGB")
    else:
        draft.drop(leaf, "as many pixels as the scale factor are cropped")


def _convert_logs(draft: Draft) -> None:
    """Convert ``logger``."""
    for key, leaf in draft.below("logger").items():
        if key == "save_checkpoint_freq":
            interval = f"{draft.whole(leaf)} steps"
            draft.take(
                leaf, {"--checkpoint-interval": interval, "--store-model-interval": interval}
            )
        elif key == "use_tb_logger":
            _convert_switch(draft, "logger.use_tb_logger", True, "--no-tensorboard")
        elif key == "wandb.project" and leaf.value:
            draft.take(leaf, {"--wandb": None}, "set its name with the variable WANDB_PROJECT")
        elif key == "wandb.resume_id":
            draft.drop(leaf, "a resumed run continues its own log")
        elif key in ("print_freq", "save_tb_img"):
            draft.skip(leaf, "progress is shown all the time, metrics are logged for each epoch")
        elif key == "save_checkpoint_format":
            if leaf.value == "safetensors":
                draft.skip(leaf, "models are safetensors")
            else:
                draft.take(leaf, {}, "models are safetensors; models convert writes .pth")
        else:
            draft.drop(leaf, "the logs have no such setting here")


def _convert_rest(draft: Draft) -> None:
    """Report the settings of the whole file that have no counterpart, or need none."""
    for key, leaf in draft.left():
        first = key.partition(".")[0]
        if first == "dist_params":
            draft.skip(leaf, "processes are started by --devices or torchrun")
        elif key.startswith("train.moa_") and not draft.value("train.use_moa"):
            draft.skip(leaf, "use_moa is off")
        elif key in _NOT_NEEDED and _NOT_NEEDED[key][0](leaf.value):
            draft.skip(leaf, _NOT_NEEDED[key][1])
        elif key in _MISSING:
            draft.drop(leaf, _MISSING[key])


_NOT_NEEDED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_type": (lambda _: True, "the losses decide the stage"),
    "high_order_degradation": (lambda _: True, "see degradation.probability"),
    "train.net_d_iters": (lambda value: value == 1, "both networks are trained in every step"),
    "train.net_d_init_iters": (is_off, "both networks are trained from the first step"),
    "input_pixel_format": (lambda value: value == "rgb", "images are RGB"),
    "output_pixel_format": (lambda value: value == "rgb", "images are RGB"),
    "train.clamp": (is_off, "results are not clamped during a training"),
    "deterministic": (is_off, "the random numbers are the same in every run"),
    "find_unused_parameters": (is_off, "all parameters are used"),
    "is_gray": (lambda _: True, "the number of channels decides"),
    "manual_seed": (is_off, "the seed is 0"),
    "name": (is_off, "the run is named after the time"),
    "high_order_degradations_debug": (is_off, "--check draws degraded crops"),
    "high_order_degradations_debug_limit": (lambda _: True, "--check draws degraded crops"),
}
_MISSING = {
    "train.net_d_iters": "both networks are trained in every step",
    "train.net_d_init_iters": "the generator is trained from the first step",
    "fast_matmul": "TF32 is used as PyTorch does by default; --precision bf16 is faster",
    "train.ema_power": "the moving average starts at once, with its full decay",
    "train.ema_update_after_step": "the moving average starts at once, with its full decay",
    "train.ema_switch_iter": "the trained weights are never replaced by their average",
    "train.wavelet_guided": "there is no wavelet-guided loss",
    "train.wavelet_init": "there is no wavelet-guided loss",
    "train.match_lq_colors": "there is no loss on the colors of low resolution",
    "train.match_lq": "there is no loss on the colors of low resolution",
    "train.eco": "there is no training towards a teacher's results",
    "train.sam": "there is no sharpness-aware minimization",
    "train.sam_init": "there is no sharpness-aware minimization",
    "train.clamp": "results are not clamped during a training",
    "train.adaptive_d": "the watch rolls a collapsing training back instead",
    "dataroot_lq_prob": "images with their own low resolution keep it",
    "deterministic": "a run on a CPU is deterministic, on a GPU nearly",
    "high_order_degradations_debug": "--check draws degraded crops",
    "input_pixel_format": "images are RGB, or gray with img_channels 1",
    "output_pixel_format": "images are RGB, or gray with img_channels 1",
    **dict.fromkeys(("train.use_moa", "train.moa_augs", "train.moa_probs"), _NO_MIXING),
}
