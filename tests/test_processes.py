"""Many processes train as one does."""

from __future__ import annotations

import os

TOGETHER = """
import sys
from pathlib import Path
from torch_sr.config import load_config
from torch_sr.training.run import train
from torch_sr.training.settings import RunSettings
config, root, out = sys.argv[1:]
settings = RunSettings(Path(root), Path(out), device="cpu", cache_dir=Path(root, "cache"))
train(load_config(config), settings, run="together")
"""


def test_two_processes_are_one_with_the_doubled_batch(settings, both_stages, tmp_path):
    # The U-Net discriminator, for batch normalisation sees half of the mini-batch by design.
    overrides = ["discriminator.kind=unet", "discriminator.unet_channels=2"]
    alone = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=4"])
    expected = weights_of(train(alone, settings, run="alone").model)

    halves = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=2"])
    (tmp_path / "config.json").write_text(halves.to_json())
    (tmp_path / "together.py").write_text(TOGETHER)
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", "127.0.0.1:0",
            *map(str, (tmp_path / "together.py", tmp_path / "config.json")),
            *map(str, (settings.data_root, settings.out_dir)),
        ],
        check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    found = weights_of(settings.models_dir / "together_RRDB_ESRGAN_x2_model.safetensors")
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-5)
