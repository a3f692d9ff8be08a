"""Fill in a configuration step by step, and keep what the user sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch_sr.config import GAN_STAGE, PSNR_STAGE, STAGES, Hyperparameters, parse_config
from torch_sr.errors import ConfigError
from torch_sr.images import read_header
from torch_sr.networks.configs import RRDBConfig
from torch_sr.training.runs.initial_weights import find_differences, like_overrides

_SCRATCH_SIZES = {"rrdb_channels": 32, "growth_channels": 32, "num_basic_blocks": 3}
"""The sizes of compact-x4: small enough to train on a CPU."""
_CPU_BATCH, _BATCH = 8, 16
_CROPS = (192, 128, 96, 64)  # of high resolution; at x8, still 8 pixels of low resolution
_CPU_CROP = 128
_ANY_CROP = 840  # placeholder until it is chosen: a multiple of every scale factor
_LARGE_ENOUGH = 0.9  # share of the images that must be as large as a crop
_LR, _LR_FROM_SCRATCH = 1e-4, 1e-3
_WARM_UP = 0.05  # share of the steps


class ConfigDraft:
    """A configuration that is filled in step by step; what the user set stays."""

    def __init__(
        self,
        start: str | None,
        gan: bool,
        overrides: Sequence[str],
        device_type: str,
        *,
        partial: bool = False,
    ) -> None:
        self._overrides = [*(like_overrides(start) if start is not None else ()), *overrides]
        augmentation = {"spatial": "dihedral", "compression": 0.0, "coarse_dropout": 0.0}
        self._data: dict[str, Any] = {
            "batch_size": _CPU_BATCH if device_type == "cpu" else _BATCH,
            PSNR_STAGE: {
                "lr": _LR if start is not None else _LR_FROM_SCRATCH,
                "scheduler": "cosine",
                "augmentation": augmentation,
            },
            GAN_STAGE: {"augmentation": augmentation} if gan else {"num_epoch": 0},
            "generator": {} if start is not None else dict(_SCRATCH_SIZES),
        }
        self._stages = STAGES if gan else (PSNR_STAGE,)
        self.set_crop(_ANY_CROP)
        self._check_stages(gan)
        if start is not None and not partial:
            self._check_sizes(start)

    def config(self) -> Hyperparameters:
        """The configuration as it is now."""
        return parse_config(self._data, "--images", self._overrides)

    def set_crop(self, side: int) -> None:
        """Set the crop size of all stages."""
        for stage in self._stages:
            self._data[stage]["cr_patch_size"] = [side, side]

    def limit_batch(self, num_images: int) -> None:
        """Limit mini-batches to the number of images, because each gives one crop per epoch."""
        self._data["batch_size"] = min(self._data["batch_size"], num_images)

    def set_lengths(self, steps: Mapping[str, int], num_images: int) -> None:
        """Set the steps of each stage, and enough epochs for them."""
        batches = max(1, num_images // self.config().batch_size)
        for stage, count in steps.items():
            self._data[stage] |= {"num_steps": count, "num_epoch": -(-count // batches)}
        self._data[PSNR_STAGE]["warmup_steps"] = int(_WARM_UP * steps[PSNR_STAGE])

    def set_images(self, training: Path, validation: Path) -> None:
        """Set the lists of images of all stages."""
        for stage in self._stages:
            self._data[stage]["train_datasets"] = [str(training.resolve())]
            self._data[stage]["val_datasets"] = [str(validation.resolve())]

    def _check_stages(self, gan: bool) -> None:
        """Refuse overrides that leave out a planned stage, or add another one."""
        stages = self.config().stages
        for name in self._stages:
            if name not in stages:
                raise ConfigError(
                    f"leave out --set {name}.num_epoch=0: --images plans this stage, and --minutes "
                    "sets its length"
                )
        if GAN_STAGE in stages and not gan:
            raise ConfigError(
                "add --gan to train the GAN stage too, in place of --set training.num_epoch; "
                "--minutes sets its length"
            )

    def _check_sizes(self, start: str) -> None:
        """Refuse sizes that differ from those of the model to start from."""
        start_config = parse_config({}, overrides=like_overrides(start))
        config = self.config()
        if config.scale_factor != start_config.scale_factor:
            raise ConfigError(
                f"add --from-scratch, or -l with a model of x{config.scale_factor}: {start}, which "
                f"the training would start from, is a model of x{start_config.scale_factor}"
            )
        differing = find_differences(
            RRDBConfig(**start_config.generator_kwargs), RRDBConfig(**config.generator_kwargs)
        )
        if differing:
            changes = " ".join(
                f"--set {key}={json.dumps(here)}" for key, (_, here) in differing.items()
            )
            raise ConfigError(
                f"add --from-scratch, or leave out {changes}: the training would start from "
                f"{start}, which has other sizes"
            )


def choose_crop(images: Sequence[Path], scale_factor: int, device_type: str) -> int:
    """Choose the side of the crops: the largest usual one that fits nine tenths of the images.

    Args:
        images: image files with sides of at least 64 pixels.
        scale_factor: the side is a multiple of it.
        device_type: for a CPU, the side is at most 128 pixels, because larger crops are slow.
    """
    sides = sorted(min(image_size(path)) for path in images)
    large_enough = sides[int((1 - _LARGE_ENOUGH) * len(sides))]
    most = _CPU_CROP if device_type == "cpu" else _CROPS[0]
    side = next((side for side in _CROPS if side <= min(large_enough, most)), _CROPS[-1])
    return side // scale_factor * scale_factor


def least_crop(scale_factor: int) -> int:
    """The side of the smallest crops; smaller images are not used for training."""
    return _CROPS[-1] // scale_factor * scale_factor


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, upright."""
    header = read_header(path)
    return header.height, header.width
