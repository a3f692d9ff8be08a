"""What ``import torch_sr`` offers."""

from __future__ import annotations

import importlib.metadata

import pytest

import torch_sr
from torch_sr.errors import TorchSRError
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.conversion import convert
from torch_sr.models.interpolation import interpolate
from torch_sr.models.loading import load_generator
from torch_sr.models.strength import load
from torch_sr.networks.rrdb import RRDBNet

PUBLIC = {
    "RRDBNet": RRDBNet,
    "TorchSRError": TorchSRError,
    "Upscaler": Upscaler,
    "convert": convert,
    "interpolate": interpolate,
    "load": load,
    "load_generator": load_generator,
}


def test_public_names():
    assert sorted(torch_sr.__all__) == sorted([*PUBLIC, "__version__"])
    assert set(torch_sr.__all__) <= set(dir(torch_sr))
    for name, value in PUBLIC.items():
        assert getattr(torch_sr, name) is value


def test_star_import():
    names = {}
    exec("from torch_sr import *", names)
    assert set(torch_sr.__all__) <= names.keys()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'torch_sr' has no attribute 'Upscale'"):
        _ = torch_sr.Upscale
    assert not hasattr(torch_sr, "upscale")


def test_version_is_that_of_the_distribution():
    try:
        installed = importlib.metadata.version("torch-sr")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("torch-sr is not installed here")
    assert torch_sr.__version__ == installed
