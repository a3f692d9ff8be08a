"""What ``import torch_sr`` offers."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

import torch_sr
from torch_sr import errors

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


# --- Everything that is named is public -----------------------------------------------------------


@cache
def parse(module):
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def definition(module, name):
    """Where a name of torch_sr is defined, with its statement; None for names of others."""
    tree = parse(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and "torch_sr" in node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module != module:
                    return definition(node.module, alias.name)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return module, node
    return None


def classes_in(module, annotation, within=()):
    """The classes of torch_sr that an annotation names, also through aliases."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        annotation = annotation.slice.elts[0]  # the rest describes an option of the command line
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            with suppress(SyntaxError):
                yield from classes_in(module, ast.parse(node.value), within)
        found = definition(module, node.id) if isinstance(node, ast.Name) else None
        if found is None or found[1] in within:
            continue
        place, defined = found
        if isinstance(defined, ast.ClassDef):
            yield place, defined.name
        elif getattr(defined, "value", None) is not None:  # an alias
            yield from classes_in(place, defined.value, (*within, defined))


def annotations(node):
    """The annotations of a function, or of a class's fields and public methods."""
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        found = [argument.annotation for argument in arguments] + [node.returns]
        yield from (annotation for annotation in found if annotation is not None)
    for each in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
        name = getattr(each, "name", getattr(getattr(each, "target", None), "id", "_"))
        if isinstance(each, ast.FunctionDef) and (name[0] != "_" or name.startswith("__")):
            yield from annotations(each)
        if isinstance(each, ast.AnnAssign) and name[0] != "_":
            yield each.annotation


@pytest.mark.parametrize("name", sorted({*torch_sr.__all__} - {"__version__"}))
def test_every_type_in_a_public_signature_is_public(name):
    place, node = definition("torch_sr", name) or definition("torch_sr.errors", name)
    if place.startswith("torch_sr.config"):
        return  # the sections of a configuration are documented by their JSON keys
    for annotation in annotations(node):
        for module, class_name in classes_in(place, annotation):
            assert class_name in torch_sr.__all__, f"{ast.unparse(annotation)}: {module}"


def test_the_check_sees_types_through_aliases():
    annotation = ast.parse("list[ModelLike] | None", mode="eval")
    found = {name for _, name in classes_in("torch_sr.models.interpolation", annotation)}
    assert found == {"Model", "RRDBNet"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_docs_name_public_names_only(page):
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"```py(?:thon|con)\n(.*?)```", text, re.DOTALL):
        for line in code.splitlines():
            found = re.match(r"(?:>>> )?from (torch_sr[\w.]*) import (.*)", line)
            assert found is None or found[1] == "torch_sr", f"{line}: import it from torch_sr"
            names = found[2].split(", ") if found else re.findall(r"\btorch_sr\.(\w+)", line)
            assert {*names} <= {*torch_sr.__all__}, line
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for name in re.findall(r"\btorch_sr\.(\w+)", prose):
        assert name in {*torch_sr.__all__, "errors"}, f"torch_sr.{name}"


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
