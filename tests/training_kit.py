"""A configuration that trains in a second, and what listens to it."""

from __future__ import annotations

from torch_sr.models.loading import load_generator
from torch_sr.training.loggers import Logger

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


class Recorder(Logger):
    """Remember everything; optionally do something after a given step."""

    def __init__(self, at_step=None, action=None):
        self.epochs, self.losses, self.images = [], [], {}
        self._at_step, self._action = at_step, action

    def on_step(self, epoch, step, losses):
        self.losses.append((step, float(losses["content_loss"])))
        if len(self.losses) == self._at_step:
            self._action()

    def on_epoch(self, epoch, step, metrics):
        self.epochs.append((epoch, step, dict(metrics)))

    def on_images(self, step, images):
        self.images |= images


def weights_of(path):
    return load_generator(path).network.state_dict()
