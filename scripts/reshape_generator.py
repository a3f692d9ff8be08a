"""Make a wider or shallower RRDBNet from a trained one, as the start of a fine-tuning.

Wider: the additional growth channels of each dense block are drawn at random, and the weights that
read them start at zero, so the output is exactly the same. Shallower: whole RRDBs are left out,
which hardly hurts a residual trunk (Veit et al. 2016, https://arxiv.org/abs/1605.06431). Run with::

    python scripts/reshape_generator.py old.safetensors start.safetensors --growth 32 --blocks 0 1 2
    torch-sr train config.json -l start.safetensors --start-stage pretraining
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torch_sr.errors import TorchSRError
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

_KEPT = ("author", "license", "dataset", "data")
"""Records that remain valid; metrics, results and configuration describe the old network."""


def main() -> None:
    """Read, reshape and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="weights file of an RRDBNet")
    parser.add_argument("target", help="weights file to write")
    parser.add_argument("--growth", type=int, help="growth channels, at least as many as before")
    parser.add_argument("--blocks", type=int, nargs="+", help="RRDBs to keep, by number from 0")
    parser.add_argument("--seed", type=int, default=0, help="of the new channels")
    options = parser.parse_args()
    try:
        loaded = read_model(options.source)
    except TorchSRError as error:
        parser.error(str(error))
    network = loaded.network
    if not isinstance(network, RRDBNet):
        parser.error(f"{options.source}: choose an RRDBNet (ESRGAN) model")
    growth = network.config.growth_channels if options.growth is None else options.growth
    blocks = options.blocks or range(network.config.num_basic_blocks)
    if growth < network.config.growth_channels:
        parser.error(f"--growth {growth}: the model has {network.config.growth_channels}")
    if not set(blocks) <= set(range(network.config.num_basic_blocks)):
        parser.error(f"--blocks: the model has 0 to {network.config.num_basic_blocks - 1}")
    torch.manual_seed(options.seed)
    reshaped = reshape(network, growth, blocks)
    save_generator(options.target, reshaped, stage=loaded.info.stage, metadata=loaded.info.metadata)
    print(options.target)


def reshape(network: RRDBNet, growth: int, blocks: Sequence[int]) -> RRDBNet:
    """Return a network with only ``blocks``, and ``growth`` channels in every dense block.

    Args:
        network: the trained network.
        growth: growth channels, at least as many as before.
        blocks: numbers of the RRDBs to keep.
    """
    config = replace(network.config, growth_channels=growth, num_basic_blocks=len(blocks))
    reshaped = RRDBNet.from_config(config)
    old, new = network.state_dict(), reshaped.state_dict()
    for key, value in new.items():
        if not key.startswith("body."):
            value.copy_(old[key])
            continue
        _, block, dense, conv, part = key.split(".")
        trained = old[f"body.{blocks[int(block)]}.{dense}.{conv}.{part}"]
        if part == "bias":
            value.zero_()[: len(trained)] = trained
        else:
            _place(value, trained, network, growth)
    return reshaped


def _place(weight: Tensor, trained: Tensor, network: RRDBNet, growth: int) -> None:
    """Copy the trained weights of a convolution, which ignore the new channels."""
    width, before = network.config.rrdb_channels, network.config.growth_channels
    inputs = [
        channel if channel < width else _moved(channel - width, before, growth) + width
        for channel in range(trained.shape[1])
    ]
    weight[: len(trained)] = 0
    weight[: len(trained), inputs] = trained


def _moved(channel: int, before: int, growth: int) -> int:
    """The new index of a channel when each convolution adds ``growth`` channels."""
    return channel // before * growth + channel % before


if __name__ == "__main__":
    main()
