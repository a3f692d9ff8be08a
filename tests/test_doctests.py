"""The examples in docstrings and on pages of the docs do what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import torch_sr

SOURCE = Path(torch_sr.__file__).parent
MODULES = [
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("page", ["guides/models.md"])
def test_examples_on_a_page(page, tmp_path, monkeypatch):
    docs = Path(__file__).parents[1] / "docs"
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(docs / page), module_relative=False)
    assert result.attempted
    assert not result.failed
