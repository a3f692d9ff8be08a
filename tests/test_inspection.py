"""The report on a model, against counting by hand and by gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torch_sr.models.inspection import count_macs, receptive_field
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1, "num_dense_blocks": 1}


def macs_by_hand(network, channels, size=32):
    """For each number that a convolution makes, the weights that it takes."""
    total = 0

    def count(module, _, output):
        nonlocal total
        total += module.weight[0].numel() * output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, channels, size, size))
    return total // size**2


@pytest.mark.parametrize(
    "hparams",
    [
        {},
        {"scale_factor": 2},
        {"use_subpixel_conv": True},
        {"scale_factor": 2, "pixel_unshuffle": 2},
    ],
)
def test_macs_are_those_counted_by_hand(hparams):
    network = RRDBNet(**TINY | hparams).eval()
    assert count_macs(network, 3) == macs_by_hand(network, 3)


def field_by_gradient(network):
    """The widest square of the input on which some pixel of the output depends."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.01)  # so that nothing cancels out
    size, widest = 64, 0
    lr = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    sr = network(lr)
    steps = network.scale_factor * network.pixel_unshuffle
    middle = sr.shape[-1] // 2
    for place in range(middle, middle + steps):
        (gradient,) = torch.autograd.grad(sr[0, 0, place, middle], lr, retain_graph=True)
        rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()
        widest = max(widest, int(rows.max() - rows.min()) + 1)
    assert widest < size
    return widest


@pytest.mark.parametrize("subpixel", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_the_receptive_field_is_that_of_the_gradient(scale, subpixel):
    network = RRDBNet(**TINY, scale_factor=scale, use_subpixel_conv=subpixel).double()
    assert receptive_field(network) == field_by_gradient(network)


def test_the_receptive_field_of_unshuffled_input_is_an_upper_bound():
    network = RRDBNet(**TINY, scale_factor=2, pixel_unshuffle=2).double()
    found = field_by_gradient(network)
    assert found <= receptive_field(network) <= found + 2
