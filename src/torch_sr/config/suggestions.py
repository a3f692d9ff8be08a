"""Suggest a known key for one that does not exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from torch_sr.config.values import suggest

_RATES = ("pretraining.lr", "training.g_lr")
_ALIASES: dict[str, tuple[str, ...]] = {
    "num_block": ("generator.num_basic_blocks",),
    "num_blocks": ("generator.num_basic_blocks",),
    "n_blocks": ("generator.num_basic_blocks",),
    "nb": ("generator.num_basic_blocks",),
    "num_rrdb": ("generator.num_basic_blocks",),
    "num_feat": ("generator.rrdb_channels",),
    "num_features": ("generator.rrdb_channels",),
    "nf": ("generator.rrdb_channels",),
    "dim": ("generator.rrdb_channels",),
    "num_grow_ch": ("generator.growth_channels",),
    "gc": ("generator.growth_channels",),
    "res_scale": ("generator.residual_scaling",),
    "unshuffle": ("generator.pixel_unshuffle",),
    "network_g": ("generator",),
    "net_g": ("generator",),
    "network_d": ("discriminator",),
    "net_d": ("discriminator",),
    "upscale": ("scale_factor",),
    "scale": ("scale_factor",),
    "num_in_ch": ("img_channels",),
    "num_out_ch": ("img_channels",),
    "in_nc": ("img_channels",),
    "out_nc": ("img_channels",),
    "channels": ("img_channels",),
    "batch": ("batch_size",),
    "batch_size_per_gpu": ("batch_size",),
    "bs": ("batch_size",),
    "manual_seed": ("seed",),
    "random_seed": ("seed",),
    "gt_size": ("pretraining.cr_patch_size", "training.cr_patch_size"),
    "patch_size": ("pretraining.cr_patch_size", "training.cr_patch_size"),
    "crop_size": ("pretraining.cr_patch_size", "training.cr_patch_size"),
    "hr_size": ("pretraining.cr_patch_size", "training.cr_patch_size"),
    "lr": _RATES,
    "learning_rate": _RATES,
    "lr_g": ("training.g_lr", "pretraining.lr"),
    "lr_d": ("training.d_lr",),
    "optim_g": _RATES,
    "optim_d": ("training.d_lr",),
    "epochs": ("pretraining.num_epoch", "training.num_epoch"),
    "num_epochs": ("pretraining.num_epoch", "training.num_epoch"),
    "n_epochs": ("pretraining.num_epoch", "training.num_epoch"),
    "max_epochs": ("pretraining.num_epoch", "training.num_epoch"),
    "total_iter": ("pretraining.num_steps", "training.num_steps"),
    "iterations": ("pretraining.num_steps", "training.num_steps"),
    "max_steps": ("pretraining.num_steps", "training.num_steps"),
    "steps": ("pretraining.num_steps", "training.num_steps"),
    "warmup_iter": ("pretraining.warmup_steps", "training.warmup_steps"),
    "warmup": ("pretraining.warmup_steps", "training.warmup_steps"),
    "milestones": ("training.g_sched_steps", "pretraining.sched_step"),
    "gamma": ("pretraining.sched_gamma", "training.g_sched_gamma"),
    "ema": ("pretraining.ema_decay", "training.ema_decay"),
    "grad_clip": ("pretraining.gradient_clip", "training.gradient_clip"),
    "datasets": ("pretraining.train_datasets", "training.train_datasets"),
    "dataset": ("pretraining.train_datasets", "training.train_datasets"),
    "dataroot_gt": ("pretraining.train_datasets", "training.train_datasets"),
    "val_dataset": ("pretraining.val_datasets", "training.val_datasets"),
    "pixel_opt": ("content_loss",),
    "gan_weight": ("training.g_adversarial_loss_scaling",),
    "pixel_weight": ("training.g_content_loss_scaling",),
    "perceptual_opt": ("perceptual_loss",),
    "vgg_layers": ("perceptual_loss.layer_weights",),
    "optim": ("pretraining.optimizer", "training.optimizer"),
    "blur_kernel_size": ("degradation.first.blur.kernel_size",),
    "kernel_prob": ("degradation.first.blur.kernels",),
    "kernel_list": ("degradation.first.blur.kernels",),
    "blur_sigma": ("degradation.first.blur.sigma",),
    "betag_range": ("degradation.first.blur.betag",),
    "betap_range": ("degradation.first.blur.betap",),
    "sinc_prob": ("degradation.first.blur.sinc_probability",),
    "resize_prob": ("degradation.first.resize_probabilities",),
    "gaussian_noise_prob": ("degradation.first.gaussian_probability",),
    "noise_range": ("degradation.first.gaussian_range",),
    "poisson_scale_range": ("degradation.first.poisson_range",),
    "gray_noise_prob": ("degradation.first.gray_noise_probability",),
    "blur_kernel_size2": ("degradation.second.blur.kernel_size",),
    "kernel_prob2": ("degradation.second.blur.kernels",),
    "kernel_list2": ("degradation.second.blur.kernels",),
    "blur_sigma2": ("degradation.second.blur.sigma",),
    "betag_range2": ("degradation.second.blur.betag",),
    "betap_range2": ("degradation.second.blur.betap",),
    "sinc_prob2": ("degradation.second.blur.sinc_probability",),
    "second_blur_prob": ("degradation.second.blur.probability",),
    "resize_prob2": ("degradation.second.resize_probabilities",),
    "resize_range2": ("degradation.second.resize_range",),
    "gaussian_noise_prob2": ("degradation.second.gaussian_probability",),
    "noise_range2": ("degradation.second.gaussian_range",),
    "poisson_scale_range2": ("degradation.second.poisson_range",),
    "gray_noise_prob2": ("degradation.second.gray_noise_probability",),
    "jpeg_range2": ("degradation.second.jpeg_range",),
    "final_sinc_prob": ("degradation.final_sinc_probability",),
    "gt_usm": ("degradation.sharpen_targets",),
    "l1_gt_usm": ("degradation.sharpen_targets",),
    "percep_gt_usm": ("degradation.sharpen_targets",),
    "usm": ("degradation.sharpen_targets",),
    "high_order_degradation": ("degradation.probability",),
}
"""Keys of BasicSR, neosr and other training programs, and other common spellings."""

_OPTIONS = {
    "num_worker_per_gpu": "num-workers",
    "num_workers": "num-workers",
    "workers": "num-workers",
    "num_gpu": "devices",
    "devices": "devices",
    "device": "device",
    "precision": "precision",
    "use_amp": "precision",
    "amp": "precision",
    "bfloat16": "precision",
    "accumulate": "accumulate",
    "compile": "compile",
    "resume_state": "load-checkpoint",
    "resume": "load-checkpoint",
    "pretrain_network_g": "load-checkpoint",
    "load_checkpoint": "load-checkpoint",
    "val_freq": "validation-interval",
    "save_checkpoint_freq": "checkpoint-interval",
    "checkpoint_interval": "checkpoint-interval",
    "data_root": "data-root",
    "download": "download",
    "out_dir": "out",
    "use_tb_logger": "tensorboard",
    "wandb": "wandb",
}


def section_at(root: type[BaseModel], parents: Sequence[str]) -> type[BaseModel] | None:
    """The section at a path of keys; None if there is none."""
    section: Any = root
    for parent in parents:
        field = section.model_fields.get(parent)
        section = None if field is None else field.annotation
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return None
    return section  # type: ignore[no-any-return]


def suggest_key(root: type[BaseModel], path: Sequence[str]) -> str:
    """Suggest a known key, or an option of the command, for an unknown key.

    Args:
        root: the whole configuration.
        path: that of the unknown key; all its parts but the last exist.
    """
    *parents, key = path
    section = section_at(root, parents)
    assert section is not None
    names = list(section.model_fields)
    meant = _find_alias(root, parents, key)
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    if near := get_close_matches(key, names, n=1):
        # A misspelled alias is more like the alias than like the key that it stands for.
        aliases = [alias for alias in _ALIASES if _find_own(parents, alias)]
        near += get_close_matches(key, aliases, n=1, cutoff=0.9)
        (best,) = get_close_matches(key, near, n=1)
        return f"did you mean {' or '.join(_find_own(parents, best) or [best])}?"
    if key.lower() in _OPTIONS:
        return f"give it as an option of the command, --{_OPTIONS[key.lower()]}"
    every = dict(_walk(root))
    elsewhere = [where for where, name in every.items() if name == key]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere[:2])}?"
    near = get_close_matches(key, [*every.values(), *_ALIASES], n=1, cutoff=0.8)
    places = [where for where, name in every.items() if name in near]
    places = places or [where for alias in near for where in _find_alias(root, parents, alias)]
    return f"did you mean {' or '.join(places[:2])}?" if places else suggest(key, names)


def _find_alias(root: type[BaseModel], parents: Sequence[str], key: str) -> list[str]:
    """The keys that an alias stands for; those of the same section are preferred."""
    meant = [where for where in _ALIASES.get(key.lower(), ()) if _exists(root, where)]
    return _find_own(parents, key) or meant


def _find_own(parents: Sequence[str], key: str) -> list[str]:
    """The keys of this section, or of those below, that an alias stands for."""
    here = ".".join([*parents, ""])
    meant = _ALIASES.get(key.lower(), ()) if parents else ()
    return [where.removeprefix(here) for where in meant if where.startswith(here)]


def _exists(root: type[BaseModel], dotted: str) -> bool:
    *parents, key = dotted.split(".")
    section = section_at(root, parents)
    return section is not None and key in section.model_fields


def _walk(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a section and of those below: its path, and its own name."""
    for name in section.model_fields:
        yield prefix + name, name
        below = section_at(section, [name])
        if below is not None:
            yield from _walk(below, f"{prefix}{name}.")
