"""The programs whose option files are known: how to recognize them, their keys and defaults.

Keys are renamed to those of BasicSR, from which the others descend, so that one conversion fits
all. Sources: BasicSR 1.4.2 (``basicsr/models``, ``basicsr/data``), Real-ESRGAN 0.3.0, neosr
(``neosr/models``, ``train.py``) and traiNNer-redux (``traiNNer/utils/redux_options.py``), as of
2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_sr.config.degradation import KERNELS
from torch_sr.config.importing import degradations
from torch_sr.config.importing.leaves import Leaf, OptionFile
from torch_sr.config.messages import refusal

_ADAM_BETAS = {"train.optim_g.betas": [0.9, 0.999]}
_TURNS = {"datasets.train.use_hflip": True, "datasets.train.use_rot": True}


def _redux_round(suffix: str, **values: Any) -> dict[str, Any]:
    """The defaults of a round of degradations in traiNNer-redux."""
    both = {
        "blur_prob": 0,
        "gaussian_noise_prob": 0,
        "noise_range": [0, 0],
        "poisson_scale_range": [0, 0],
        "gray_noise_prob": 0,
        "jpeg_prob": 1,
        "jpeg_range": [75, 95],
        "kernel_list": list(KERNELS),
        "kernel_prob": list(KERNELS.values()),
        "kernel_range": [5, 17],
        "sinc_prob": 0,
    }
    section = degradations.SECTION
    return {f"{section}.{key}{suffix}": value for key, value in (both | values).items()}


@dataclass(frozen=True)
class Program:
    """A program whose option files can be imported.

    Args:
        title: its name.
        keys: its keys by BasicSR's; one that ends in ``.`` stands for all that begin so.
        defaults: its values for keys that a file need not name, by BasicSR's keys.
    """

    title: str
    keys: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def rename(self, leaf: Leaf) -> str:
        """BasicSR's key for a value; degradations have a section of their own."""
        key = _EARLIER.get(leaf.key, leaf.key)
        for own, other in self.keys.items():
            if key == own:
                return other
            if own.endswith(".") and key.startswith(own):
                key = other + key.removeprefix(own)
        *parents, last = key.split(".")
        if last in degradations.KEYS and parents in ([], ["datasets", "train"]):
            return f"{degradations.SECTION}.{last}"
        return key


_EARLIER = {
    "train.niter": "train.total_iter",
    "train.manual_seed": "manual_seed",
    "path.pretrain_model_g": "path.pretrain_network_g",
    "path.pretrain_model_d": "path.pretrain_network_d",
    "path.strict_load": "path.strict_load_g",
    "datasets.train.n_workers": "datasets.train.num_worker_per_gpu",
    "datasets.train.batch_size": "datasets.train.batch_size_per_gpu",
    "datasets.train.use_flip": "datasets.train.use_hflip",
}
"""The names of keys in BasicSR 1.0, and in trainings of that time."""
_BASICSR_DEFAULTS = {"train.ema_decay": 0, **_ADAM_BETAS}
PROGRAMS = {
    "basicsr": Program("BasicSR", defaults=_BASICSR_DEFAULTS),
    "real-esrgan": Program("Real-ESRGAN", defaults=_BASICSR_DEFAULTS),
    "neosr": Program(
        "neosr",
        keys={
            "bfloat16": "amp_bf16",
            "datasets.train.patch_size": "datasets.train.lq_size",
            "datasets.train.accumulate": "datasets.train.accum_iter",
            "train.ema": "train.ema_decay",
            "logger.total_iter": "train.total_iter",
            "degradations.": "",
        },
        defaults={
            "train.ema_decay": 0,
            "train.grad_clip": True,
            "train.grad_clip_max_norm": 1.0,
            "train.total_iter": 1_000_000,
            **_TURNS,
            **_ADAM_BETAS,
        },
    ),
    "trainner-redux": Program(
        "traiNNer-redux",
        keys={
            "use_compile": "compile",
            "network_g.in_nc": "network_g.num_in_ch",
            "network_g.out_nc": "network_g.num_out_ch",
            "network_g.num_filters": "network_g.num_feat",
            "network_g.num_blocks": "network_g.num_block",
        },
        defaults={
            "train.ema_decay": 0,
            "train.grad_clip_max_norm": 100.0,
            **_TURNS,
            **_ADAM_BETAS,
            **_redux_round("", resize_range=[0.4, 1.5], blur_sigma=[0.2, 2]),
            **_redux_round("2", resize_range=[0.6, 1.2], blur_sigma=[0.2, 1]),
            f"{degradations.SECTION}.final_sinc_prob": 0,
        },
    ),
}
"""By the names that ``--from`` takes."""
_OLD = ("network_G.", "datasets.train.dataroot_HR", "datasets.train.dataroot_GT", "is_train")


def recognize(file: OptionFile) -> str:
    """The name of the program that a file is for.

    Raises:
        ConfigError: it is for a program that is not known.
    """
    values = {leaf.key: leaf.value for leaf in file.leaves}
    if any(key.startswith(_OLD) for key in values):
        raise refusal(
            file.name,
            "write it in the keys of BasicSR 1.0 or later (network_g, dataroot_gt); this is a file "
            "of an older program",
        )
    sections = {key.partition(".")[0] for key in values}
    if "onnx" in sections and not sections & {"datasets", "train"}:
        raise refusal(
            file.name, "name an option file of a training or of tests; this one exports to ONNX"
        )
    if not sections & {"network_g", "datasets", "train"}:
        raise refusal(
            file.name,
            "name an option file of a training or of tests; it has none of the sections network_g, "
            "datasets and train",
        )
    kind = str(values.get("model_type", "")).lower()
    if "video" in kind:
        leaf = next(leaf for leaf in file.leaves if leaf.key == "model_type")
        raise file.fault(leaf, f"name a file for single images; {leaf.value} is for videos")
    if file.language == "TOML" or kind in ("image", "otf", "default"):
        return "neosr"
    if "model_type" not in values:
        return "trainner-redux"
    return "real-esrgan" if kind.startswith("realesr") else "basicsr"


def degrades(program: str, leaves: Mapping[str, Leaf]) -> bool:
    """Whether a file makes its low resolution by degradations.

    Args:
        program: a name of :data:`PROGRAMS`.
        leaves: the values by BasicSR's keys.
    """
    switch = leaves.get("high_order_degradation")
    if program == "trainner-redux":
        return switch is not None and bool(switch.value)
    kind = str(leaves["model_type"].value).lower() if "model_type" in leaves else ""
    if program == "neosr":
        return kind == "otf"
    return kind.startswith("realesr") and (switch is None or switch.value is not False)
