"""Every layout, prefix and scale comes back as the same parameters."""

from __future__ import annotations

import re

import pytest
import torch

from torch_sr.errors import ModelError
from torch_sr.models.files.hparams import flatten_hparams, infer_config, nest_hparams
from torch_sr.models.files.layouts import LAYOUTS, PREFIXES, from_canonical, to_canonical
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 2}


def tiny_state(**hparams):
    torch.manual_seed(0)
    return RRDBNet(**TINY | hparams).state_dict()


def assert_same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("subpixel", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(layout, scale, subpixel):
    state = tiny_state(scale_factor=scale, use_subpixel_conv=subpixel)
    found = to_canonical(from_canonical(state, layout, residual_scaling=0.3))
    assert found.layout == layout
    assert found.residual_scaling == (0.3 if layout == "enhanced-srgan" else None)
    assert_same(found.state, state)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_ten_blocks_keep_their_order(layout):
    state = tiny_state(num_basic_blocks=11)
    shuffled = dict(sorted(from_canonical(state, layout).items()))  # "10" before "2"
    assert_same(to_canonical(shuffled).state, state)


@pytest.mark.parametrize("prefix", [*PREFIXES, "module._orig_mod.", "netG.module.generator."])
def test_prefixes_are_stripped(prefix):
    state = tiny_state()
    assert_same(to_canonical({prefix + key: value for key, value in state.items()}).state, state)


def test_a_discriminator_beside_the_generator_is_left_out():
    state = tiny_state()
    both = {f"generator.{key}": value for key, value in state.items()}
    both["discriminator.conv.weight"] = torch.zeros(1)
    assert_same(to_canonical(both).state, state)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("old", ["model.0", "model.1.sub.0.RDB1.conv1.0", "model.1.sub.2", "model.3", "model.6",
                 "model.8", "model.10"]),
        ("mid", ["conv_first", "RRDB_trunk.1.RDB3.conv5", "trunk_conv", "upconv1", "upconv2",
                 "HRconv", "conv_last"]),
        ("new", ["conv_first", "body.1.rdb3.conv5", "conv_body", "conv_up1", "conv_up2",
                 "conv_hr", "conv_last"]),
        ("enhanced-srgan", ["in_conv", "rrdb_blocks.rrdb_0.dense_blocks.rdb_0.blocks.0.conv",
                            "rrdb_blocks.out_conv", "upsampling_blocks.upsampling_0.block.conv",
                            "upsampling_blocks.upsampling_1.block.conv",
                            "upsampling_blocks.out_conv.0", "upsampling_blocks.out_conv.2"]),
    ],
)  # fmt: skip
def test_names_are_those_of_the_other_programs(layout, names):
    written = from_canonical(tiny_state(), layout)
    assert {f"{name}.{kind}" for name in names for kind in ("weight", "bias")} <= written.keys()


@pytest.mark.parametrize(
    ("scale", "subpixel", "tail"),
    [
        (1, False, [2, 4]),
        (2, False, [3, 5, 7]),
        (4, False, [3, 6, 8, 10]),
        (8, False, [3, 6, 9, 11, 13]),
        (4, True, [2, 5, 8, 10]),
    ],
)
def test_old_layout_numbers_its_tail_by_scale(scale, subpixel, tail):
    written = from_canonical(tiny_state(scale_factor=scale, use_subpixel_conv=subpixel), "old")
    numbers = [key.split(".")[1] for key in written if key.count(".") == 2]
    assert sorted({int(number) for number in numbers}) == [0, *tail]


def test_enhanced_srgan_counted_from_one():
    state = tiny_state(num_basic_blocks=1)
    renamed = {}
    for key, value in from_canonical(state, "enhanced-srgan").items():
        for old, new in (("rrdb_0", "rrdb_1"), ("upsampling_1", "upsampling_2"),
                         ("upsampling_0", "upsampling_1")):  # fmt: skip
            key = key.replace(old, new)
        renamed[key] = value
    assert_same(to_canonical(renamed).state, state)


def test_enhanced_srgan_of_before_the_blocks():
    state = tiny_state()
    older = {
        k.replace(".block.", "."): v for k, v in from_canonical(state, "enhanced-srgan").items()
    }
    assert "upsampling_blocks.upsampling_0.conv.weight" in older
    found = to_canonical(older)
    assert found.layout == "enhanced-srgan"
    assert_same(found.state, state)


@pytest.mark.parametrize(
    "hparams",
    [
        {"scale_factor": 1},
        {"scale_factor": 2},
        {"scale_factor": 8},
        {"scale_factor": 3, "use_subpixel_conv": True},
        {"scale_factor": 8, "use_subpixel_conv": True},
        {"scale_factor": 2, "pixel_unshuffle": 2},
        {"scale_factor": 1, "pixel_unshuffle": 4},
        {"scale_factor": 2, "pixel_unshuffle": 2, "use_subpixel_conv": True},
        {"img_channels": 1},
        {"img_channels": 4},
        {"img_channels": 1, "scale_factor": 2, "pixel_unshuffle": 2},
        {"num_dense_blocks": 1, "num_residual_blocks": 2},
        {"growth_channels": 8},
        {"rrdb_channels": 4, "growth_channels": 16},
    ],
)
def test_shapes_tell_the_hyper_parameters(hparams):
    with torch.device("meta"):
        net = RRDBNet(**TINY | hparams)
    assert infer_config(net.state_dict()) == net.config


def test_what_shapes_cannot_tell_is_taken_from_what_was_stored():
    state = tiny_state(scale_factor=3)
    assert infer_config(state).scale_factor == 2
    assert infer_config(state, {"scale_factor": 3}).scale_factor == 3
    assert infer_config(state, {"residual_scaling": 0.1}).residual_scaling == 0.1
    single = tiny_state(num_residual_blocks=1)
    assert infer_config(single).growth_channels == 32
    assert infer_config(single, {"growth_channels": 4}).growth_channels == 4


def test_stored_hyper_parameters_must_not_contradict_the_weights():
    with pytest.raises(ModelError, match="num_basic_blocks as 23, but its weights make it 2"):
        infer_config(tiny_state(), {"num_basic_blocks": 23})


def test_hyper_parameters_nest_like_the_configuration_and_back():
    config = RRDBNet(**TINY).config
    nested = nest_hparams(config)
    assert nested["scale_factor"] == 4
    assert nested["generator"]["num_basic_blocks"] == 2
    assert flatten_hparams(nested) | {"pixel_unshuffle": 1} == config.to_dict()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_missing_parameter_is_named(layout):
    state = from_canonical(tiny_state(num_basic_blocks=1), layout)
    for key in state:
        if not key.endswith("residual_scaling"):
            rest = {other: value for other, value in state.items() if other != key}
            with pytest.raises(ModelError, match=f"{re.escape(key)} is missing"):
                to_canonical(rest)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_superfluous_parameters_are_named(layout):
    state = from_canonical(tiny_state(), layout) | {"attention.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"attention\.weight"):
        to_canonical(state)


def test_gaps_in_the_numbering_are_refused():
    state = tiny_state(num_basic_blocks=3)
    gap = {key: value for key, value in state.items() if not key.startswith("body.1.")}
    with pytest.raises(ModelError, match=r"body\.1\.rdb1\.conv1\.weight"):
        to_canonical(gap)
    late = {
        k.replace("body.0.", "body.900000."): v for k, v in tiny_state(num_basic_blocks=1).items()
    }
    with pytest.raises(ModelError, match="from 900000"):
        to_canonical(late)


def test_disagreeing_residual_scalings_are_refused():
    state = from_canonical(tiny_state(), "enhanced-srgan")
    state["rrdb_blocks.rrdb_1.residual_scaling"] = torch.tensor(0.5)
    with pytest.raises(ModelError, match=r"rrdb_1\.residual_scaling is 0\.5"):
        to_canonical(state)


@pytest.mark.parametrize(
    ("key", "shape", "named"),
    [
        ("conv_first.weight", (8, 5, 3, 3), "5 channels"),
        ("conv_first.weight", (8,), r"conv_first\.weight"),
        ("conv_last.weight", (0, 8, 3, 3), r"conv_last\.weight"),
        ("conv_up2.weight", (24, 8, 3, 3), r"conv_up2\.weight"),
    ],
)
def test_impossible_shapes_are_named(key, shape, named):
    with pytest.raises(ModelError, match=named):
        infer_config(tiny_state() | {key: torch.zeros(shape)})


def test_other_networks_and_layouts_are_refused():
    with pytest.raises(ModelError, match=r"no RRDB generator; it has layer\.weight"):
        to_canonical({"layer.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="no tensors"):
        to_canonical({})
    with pytest.raises(ModelError, match="'newest' is unknown"):
        from_canonical(tiny_state(), "newest")
