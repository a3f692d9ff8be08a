"""RRDBNet against the published graph, written a second time, and against spandrel's."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from torch_sr.errors import ModelError
from torch_sr.networks.configs import CompactConfig
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 2}
FACTORS = [1, 2, 3, 4, 8]


def tiny(seed=0, **hparams):
    torch.manual_seed(seed)
    net = RRDBNet(**TINY | hparams).eval()
    with torch.no_grad():  # the small initialization would hide a wrong trunk behind rounding
        for parameter in net.parameters():
            parameter.normal_(0, 0.1)
    return net


def published_graph(state, x, *, blocks, steps, unshuffle=1, beta=0.2):
    """ESRGAN's figure 4 and BasicSR's up-scaling, computed from the parameters."""

    def conv(name, value):
        return F.conv2d(value, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def lrelu(value):
        return torch.where(value > 0, value, 0.2 * value)

    height, width = x.shape[-2:]
    if unshuffle > 1:
        x = F.pad(x, (0, -width % unshuffle, 0, -height % unshuffle), mode="reflect")
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // unshuffle, unshuffle, w // unshuffle, unshuffle)
        x = x.permute(0, 1, 3, 5, 2, 4).reshape(n, -1, h // unshuffle, w // unshuffle)
    shallow = conv("conv_first", x)
    trunk = shallow
    for i in range(blocks):
        inner = trunk
        for j in (1, 2, 3):
            name = f"body.{i}.rdb{j}"
            x1 = lrelu(conv(f"{name}.conv1", inner))
            x2 = lrelu(conv(f"{name}.conv2", torch.cat((inner, x1), 1)))
            x3 = lrelu(conv(f"{name}.conv3", torch.cat((inner, x1, x2), 1)))
            x4 = lrelu(conv(f"{name}.conv4", torch.cat((inner, x1, x2, x3), 1)))
            x5 = conv(f"{name}.conv5", torch.cat((inner, x1, x2, x3, x4), 1))
            inner = x5 * beta + inner
        trunk = inner * beta + trunk
    features = shallow + conv("conv_body", trunk)
    for step in range(1, steps + 1):
        larger = features.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        features = lrelu(conv(f"conv_up{step}", larger))
    out = conv("conv_last", lrelu(conv("conv_hr", features)))
    scale = 2**steps // unshuffle
    return out[..., : height * scale, : width * scale]


@pytest.mark.parametrize(
    ("scale", "unshuffle", "size"),
    [
        (4, 1, (5, 7)),
        (2, 1, (5, 7)),
        (2, 2, (6, 8)),
        (2, 2, (5, 7)),
        (1, 4, (8, 12)),
        (1, 4, (6, 9)),
    ],
)
def test_equals_the_published_graph(scale, unshuffle, size):
    net = tiny(scale_factor=scale, pixel_unshuffle=unshuffle)
    lr = torch.rand(2, 3, *size)
    expected = published_graph(
        net.state_dict(), lr, blocks=2, steps=int(math.log2(scale * unshuffle)), unshuffle=unshuffle
    )
    with torch.inference_mode():
        torch.testing.assert_close(net(lr), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("scale", "unshuffle"), [(4, 1), (2, 2), (1, 4)])
def test_equals_spandrels_network(scale, unshuffle):
    spandrel = pytest.importorskip("spandrel")
    net = tiny(scale_factor=scale, pixel_unshuffle=unshuffle, growth_channels=32)  # its only one
    other = spandrel.ModelLoader(device="cpu").load_from_state_dict(net.state_dict())
    assert (other.scale, other.input_channels) == (scale, 3)
    lr = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        torch.testing.assert_close(net(lr), other.model(lr), rtol=1e-4, atol=1e-4)


def test_has_as_many_parameters_as_the_published_network():
    with torch.device("meta"):
        net = RRDBNet(num_basic_blocks=23)
    assert sum(parameter.numel() for parameter in net.parameters()) == 16_697_987


@pytest.mark.parametrize("subpixel", [False, True])
@pytest.mark.parametrize("scale", FACTORS)
def test_enlarges_by_exactly_the_factor(scale, subpixel):
    net = tiny(scale_factor=scale, use_subpixel_conv=subpixel)
    assert net(torch.rand(2, 3, 3, 5)).shape == (2, 3, 3 * scale, 5 * scale)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_takes_gray_color_and_four_channels(channels):
    net = tiny(img_channels=channels, scale_factor=2)
    assert net(torch.rand(1, channels, 4, 4)).shape == (1, channels, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (5, 5)])
def test_unshuffling_takes_any_size(size):
    net = tiny(scale_factor=1, pixel_unshuffle=4)
    assert net(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_dense_blocks_start_with_a_tenth_of_kaiming():
    torch.manual_seed(0)
    block = RRDBNet(num_basic_blocks=1).body[0].rdb2
    for conv in block.children():
        fan_in = conv.in_channels * 9
        assert conv.weight.std().item() == pytest.approx(0.1 * math.sqrt(2 / fan_in), rel=0.03)
        assert not conv.bias.any()


def test_residual_scaling_changes_the_output():
    weak, strong = tiny(residual_scaling=0.1), tiny(residual_scaling=0.2)
    strong.load_state_dict(weak.state_dict())
    lr = torch.rand(1, 3, 6, 6)
    assert not torch.allclose(weak(lr), strong(lr), atol=1e-3)
    expected = published_graph(weak.state_dict(), lr, blocks=2, steps=2, beta=0.1)
    torch.testing.assert_close(weak(lr), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("hparams", "named"),
    [
        ({"scale_factor": 5}, "scale_factor 5"),
        ({"scale_factor": 0}, "scale_factor"),
        ({"scale_factor": 8, "pixel_unshuffle": 2}, "16"),
        ({"rrdb_channels": 0}, "rrdb_channels"),
        ({"num_basic_blocks": -1}, "num_basic_blocks"),
        ({"residual_scaling": 0.0}, "residual_scaling"),
    ],
)
def test_refuses_sizes_that_cannot_be_built(hparams, named):
    with pytest.raises(ModelError, match=named):
        RRDBNet(**TINY | hparams)


@pytest.mark.parametrize(
    "hparams",
    [
        {},
        {"scale_factor": 3, "use_subpixel_conv": True, "img_channels": 1},
        {"scale_factor": 8, "use_subpixel_conv": True, "num_dense_blocks": 2},
        {"scale_factor": 2, "pixel_unshuffle": 2, "num_residual_blocks": 1},
        {"scale_factor": 1, "num_residual_blocks": 2, "num_basic_blocks": 3},
    ],
)
def test_the_configuration_knows_the_shapes_of_all_parameters(hparams):
    net = tiny(**hparams)
    found = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert list(net.config.shapes().items()) == list(found.items())  # in the same order


@pytest.mark.parametrize("sizes", [(4, 3, 64, 32), (2, 1, 8, 1), (1, 4, 8, 0)])
def test_the_configuration_of_a_compact_network_knows_its_shapes(sizes):
    compact = pytest.importorskip("spandrel.architectures.Compact").Compact
    scale, channels, width, count = sizes
    network = compact(
        num_in_ch=channels, num_out_ch=channels, num_feat=width, num_conv=count, upscale=scale
    )
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert list(CompactConfig(*sizes).shapes().items()) == list(found.items())
