"""A configuration that trains in a second, and what listens to it."""

from __future__ import annotations

from typing import NamedTuple

from torch_sr.config import parse_config
from torch_sr.models.reading import read_model
from torch_sr.training.loggers.base import Logger
from torch_sr.training.settings import RunSettings

TINY = {
    "scale_factor": 2,
    "batch_size": 2,
    "seed": 3,
    "pretraining": {
        "num_epoch": 3,
        "cr_patch_size": [16, 16],
        "lr": 1e-3,
        "train_datasets": ["photos"],
        "val_datasets": ["photos"],
        "ema_decay": 0.9,
        "augmentation": {"spatial": "dihedral", "compression": 0, "coarse_dropout": 0},
    },
    "training": {"num_epoch": 0},
    "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
}


def make_settings(data_root, out_dir):
    """Settings of a run on the CPU."""
    return RunSettings(data_root, out_dir, device="cpu", cache_dir=data_root / "cache")


def make_both_stages(vgg_file):
    """A configuration with two epochs of each stage, of two steps each."""
    return parse_config(
        {
            **TINY,
            "pretraining": {**TINY["pretraining"], "num_epoch": 2},
            "training": {
                "num_epoch": 2,
                "cr_patch_size": [16, 16],
                "g_sched_steps": [2],
                "train_datasets": ["photos"],
                "val_datasets": ["photos"],
            },
            "discriminator": {"vgg_blk_ch": [4, 4, 8, 8], "fc_features": [5]},
            "perceptual_loss": {
                "vgg_type": "vgg11",
                "layer_weights": {"conv1_1": 1.0},
                "weights": str(vgg_file),
            },
        }
    )


def checkpoint_state(**values):
    """The fields that every checkpoint has, empty, and some values."""
    empty = {
        name: {}
        for name in (
            "hparams", "model_state_dict", "params_ema", "stage_state", "progress", "metrics",
            "sums", "watch", "samples", "scaler", "random",
        )
    }  # fmt: skip
    return {"run": "1", "stage": "pretraining", "good": True, **empty, **values}


class Recorder(Logger):
    """Remember everything; optionally do something after a given step."""

    def __init__(self, at_step=None, action=None):
        self.epochs, self.losses, self.images = [], [], {}
        self.stages, self.messages, self.validations = [], [], []
        self._at_step, self._action = at_step, action

    def on_start(self, run):
        self.stages.append(run["stage"])

    def on_message(self, text):
        self.messages.append(text)

    def on_step(self, epoch, step, losses):
        self.losses.append((step, float(losses["content_loss"])))
        if len(self.losses) == self._at_step:
            self._action()

    def on_epoch(self, epoch, step, metrics):
        self.epochs.append((epoch, step, dict(metrics)))

    def on_validation(self, epoch, step, metrics):
        self.validations.append((epoch, step, dict(metrics)))

    def on_images(self, step, images):
        self.images |= images


class WholeRun(NamedTuple):
    """What a training without interruption ends at."""

    weights: dict
    losses: list
    epochs: list


def weights_of(path):
    return read_model(path).network.state_dict()
