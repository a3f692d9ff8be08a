"""Discriminators: shapes, sizes and strides as published."""

from __future__ import annotations

import pytest
import torch

from torch_sr.errors import ModelError
from torch_sr.networks.discriminators import UNetDiscriminator, VGGDiscriminator


def test_vgg_is_the_network_of_the_paper():
    network = VGGDiscriminator((128, 128))
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convs] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [c.stride[0] for c in convs] == [1, 2, 1, 2, 1, 2, 1, 2]
    assert network.features(torch.rand(1, 3, 128, 128)).shape == (1, 512, 8, 8)
    dense = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(d.in_features, d.out_features) for d in dense] == [(512 * 64, 100), (100, 1)]
    # No normalization before the first convolution's activation, one after each other.
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 7


@pytest.mark.parametrize("crop", [(16, 16), (33, 50), (4, 100)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_vgg_fits_any_crop(crop, channels):
    network = VGGDiscriminator(crop, channels, (4, 4, 8, 8), (5, 6))
    assert network(torch.rand(2, channels, *crop)).shape == (2, 1)


def test_vgg_refuses_other_sizes():
    with pytest.raises(ModelError, match=r"\(16, 16\).*\(8, 8\)"):
        VGGDiscriminator((16, 16), 3, (4, 4))(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (9, 8)])
def test_unet_classifies_every_pixel(size):
    assert UNetDiscriminator(3, 4)(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_unet_has_the_published_size():
    # Real-ESRGAN's UNetDiscriminatorSN with 64 features has 4,376,897 parameters.
    assert sum(p.numel() for p in UNetDiscriminator().parameters()) == 4_376_897


def test_unet_is_spectrally_normalized():
    network = UNetDiscriminator(3, 4).eval()
    for convolution in (*network.down, *network.up):
        with torch.no_grad():
            convolution.parametrizations.weight.original.mul_(100)
    network.train()
    for _ in range(50):  # power iterations
        network(torch.rand(1, 3, 16, 16))
    for convolution in (*network.down, *network.up):
        norm = torch.linalg.matrix_norm(convolution.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=0.05)
