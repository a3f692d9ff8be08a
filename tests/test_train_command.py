"""``torch-sr train``: downloads before a training."""

from __future__ import annotations

import pytest
import typer

from torch_sr.cli.train import run as train
from torch_sr.config import parse_config
from torch_sr.errors import TorchSRError
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.settings import RunSettings


def test_only_data_of_the_stages_that_run_are_downloaded(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "download_data", lambda specs, *rest: asked.extend(specs))
    model = tmp_path / "psnr.safetensors"
    save_generator(model, RRDBNet(**config_of_both().generator_kwargs), stage="pretraining")
    settings = RunSettings(
        tmp_path / "data", tmp_path / "out", resume=model, device="cpu", download=True
    )
    with pytest.raises(TorchSRError):  # there are no data
        train.start_training(config_of_both(), settings)
    assert asked == ["of_gan", "held"]
    asked.clear()
    with pytest.raises(typer.Exit):
        train.start_training(config_of_both(), settings, check=True)
    assert asked == ["of_gan", "held"]


def config_of_both():
    """Both stages, with data of their own."""
    return parse_config(
        {
            "scale_factor": 2,
            "pretraining": {
                "cr_patch_size": [16, 16],
                "train_datasets": ["of_psnr"],
                "val_datasets": ["held"],
            },
            "training": {
                "cr_patch_size": [16, 16],
                "train_datasets": ["of_gan"],
                "val_datasets": ["held"],
            },
            "discriminator": {"vgg_blk_ch": [4, 4, 8, 8], "fc_features": [5]},
            "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
        }
    )
