"""What ``import torch_sr`` offers."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect

import pytest

import torch_sr
from torch_sr import errors


def imported_for_type_checkers():
    """The imports below ``if TYPE_CHECKING``: modules by name."""
    tree = ast.parse(inspect.getsource(torch_sr))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    found = [(alias, node.module) for node in block.body for alias in node.names]
    assert all(alias.asname == alias.name for alias, _ in found)  # which re-exports a name
    return {alias.name: module for alias, module in found}


def test_type_checkers_see_the_public_names():
    seen = imported_for_type_checkers()
    assert sorted([*seen, *errors.__all__, "__version__"]) == sorted(torch_sr.__all__)
    assert set(torch_sr.__all__) <= set(dir(torch_sr))
    for name, module in seen.items():
        assert getattr(torch_sr, name) is getattr(importlib.import_module(module), name)
    assert all(getattr(torch_sr, name) is getattr(errors, name) for name in errors.__all__)


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
