"""The models that ship: intact, small, described, in pairs, and read by other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torch_sr.cli.models.listing import known_models
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.inspection import inspect_model, verify_model
from torch_sr.models.loading import load
from torch_sr.models.reading import read_model
from torch_sr.models.weights import (
    DEFAULT_MODEL,
    PAIRS,
    SHIPPED,
    shipped_path,
)

CONFIGS = Path(__file__).parents[1] / "configs"
DOCS = Path(__file__).parents[1] / "docs" / "guides"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_intact_and_described(name):
    path = shipped_path(name)
    verify_model(path)
    stored = load_file(path)
    report = inspect_model(path).to_dict()
    assert report["name"] == name
    assert report["num_parameters"] == sum(value.numel() for value in stored.values())
    assert report["tensor_types"] == {"float16": len(stored)}
    assert report["license"] == "LGPL-2.1"
    assert report["num_bytes"] == path.stat().st_size
    assert len(report["sha256"]) == len(report["weights_sha256"]) == 64
    assert isinstance(report["metadata"]["configuration"], dict)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"# {name}\n" in card
    assert f"{report['num_parameters']:,}" in card


@pytest.mark.parametrize("name", SHIPPED)
def test_the_list_describes_a_shipped_model_as_its_file_does(name):
    row = next(row for row in known_models() if row["name"] == name)
    info = load(name).info
    assert row["status"] == "shipped"
    assert (row["scale_factor"], row["architecture"]) == (info.scale_factor, info.architecture)
    assert (row["license"], row["author"]) == (info.metadata["license"], info.metadata["author"])
    assert row["path"] == str(info.path)


def test_the_shipped_files_are_small():
    assert sum(shipped_path(name).stat().st_size for name in SHIPPED) <= 6e6


def test_the_configuration_to_start_from_has_the_sizes_of_the_default_model():
    hparams = read_model(shipped_path(DEFAULT_MODEL)).network.config.to_dict()
    for file in ("starter_x4.json", "compact_x4.json"):
        sizes = json.loads((CONFIGS / file).read_text(encoding="utf-8"))["generator"]
        assert sizes == {key: hparams[key] for key in sizes}, file


@pytest.mark.parametrize("pair", PAIRS)
def test_the_two_of_a_pair_are_joined(pair):
    assert {pair.faithful, pair.restoring} <= SHIPPED.keys()
    assert 0 < pair.default_strength < 1
    first, last = (load(name).network for name in (pair.faithful, pair.restoring))
    assert first.config == last.config
    lr = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        sr = [load(pair.faithful, strength=s).network(lr) for s in (0, pair.default_strength, 1)]
    assert all(torch.isfinite(image).all() for image in sr)
    assert not torch.equal(sr[0], sr[1])
    assert not torch.equal(sr[1], sr[2])


@pytest.mark.parametrize("pair", PAIRS)
def test_recorded_overlaps_are_those_measured(pair):
    assert {0, pair.default_strength, 1} <= pair.overlaps.keys()
    for strength, overlap in pair.overlaps.items():
        named = Upscaler(pair.faithful, strength=strength, device="cpu", precision="fp32")
        assert named._tiles._overlap == overlap  # known before anything is measured
        # A network may have been changed since it was loaded, so its overlap is measured.
        model = load(pair.faithful, strength=strength)
        assert Upscaler(model, device="cpu", precision="fp32").overlap == overlap


@pytest.mark.parametrize(
    "options",
    [
        {"model": shipped_path("compact-x4")},
        {"model": "compact-x4", "strength": 0.55},
        {"model": "compact-x4", "precision": "bf16"},
    ],
)
def test_other_overlaps_are_measured(options):
    assert Upscaler(**{"device": "cpu", "precision": "fp32"} | options)._tiles._overlap is None


@pytest.mark.parametrize("pair", PAIRS)
def test_the_docs_have_the_default_strength(pair):
    text = (DOCS / "upscaling.md").read_text(encoding="utf-8")
    assert f"The default is {pair.default_strength:g}," in text


# --- spandrel, on which chaiNNer and ComfyUI are built --------------------------------------------


def check_with_spandrel(path):
    """spandrel finds the same network in a file, and computes the same."""
    spandrel = pytest.importorskip("spandrel")
    network = read_model(path).network
    found = spandrel.ModelLoader(device="cpu").load_from_file(path)
    assert (found.architecture.id, found.scale, found.input_channels) == ("ESRGAN", 4, 3)
    channels, blocks = network.config.rrdb_channels, network.config.num_basic_blocks
    assert found.tags == [f"{channels}nf", f"{blocks}nb"]
    lr = torch.rand(1, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(found(lr), network(lr).clamp(0, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SHIPPED)
def test_spandrel_loads_a_shipped_model_and_computes_the_same(name):
    check_with_spandrel(shipped_path(name))
