"""Several processes train like one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from training_kit import weights_of

from torch_sr.config import parse_config
from torch_sr.errors import DeviceError
from torch_sr.training.run import train_run
from torch_sr.training.settings import RunSettings

TOGETHER = """
import sys
from pathlib import Path
from torch_sr.config import load_config
from torch_sr.training.run import train_run
from torch_sr.training.settings import RunSettings
if __name__ == "__main__":
    config, root, out, devices = sys.argv[1:]
    settings = RunSettings(
        Path(root), Path(out), device="cpu", devices=int(devices) or None,
        cache_dir=Path(root, "cache"),
    )
    train_run(load_config(config), settings, run="together")
"""
TORCHRUN = [
    "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
    "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "devices"), [(TORCHRUN, 0), ([], 2)])
def test_two_processes_are_one_with_the_doubled_batch(
    settings, both_stages, whole_run, tmp_path, launcher, devices
):
    # The U-Net discriminator, because batch normalization sees half of the mini-batch by design.
    overrides = ["discriminator.kind=unet", "discriminator.unet_channels=2"]
    alone = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=4"])
    expected = whole_run(alone).weights

    halves = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=2"])
    (tmp_path / "config.json").write_text(halves.to_json())
    (tmp_path / "together.py").write_text(TOGETHER)
    paths = [tmp_path / "together.py", tmp_path / "config.json", settings.data_root]
    subprocess.run(
        [sys.executable, *launcher, *map(str, paths), str(settings.out_dir), str(devices)],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    found = weights_of(settings.models_dir / "together_RRDB_ESRGAN_x2_model.safetensors")
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_more_devices_than_there_are_is_refused(settings, both_stages):
    many = RunSettings(settings.data_root, settings.out_dir, device="cuda", devices=999)
    with pytest.raises(DeviceError, match="999 devices"):
        train_run(both_stages, many, run="1")
