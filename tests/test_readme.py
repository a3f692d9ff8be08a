"""The commands accept what the README shows."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from torch_sr.cli.main import app
from torch_sr.models.weights import SHIPPED, shipped_path

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples/reproduce_enhanced_srgan.md",
    *(shipped_path(name).with_suffix(".md") for name in SHIPPED),
)


def shell_commands():
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                yield from (part.strip() for part in line.partition(" #")[0].split("&&"))


COMMANDS = [command for command in shell_commands() if command.startswith("torch-sr ")]


def test_there_are_commands_to_try():
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_understood(command):
    name, *arguments = shlex.split(command)[1:]
    command = typer.main.get_command(app).commands[name]
    while hasattr(command, "commands"):  # models, data
        name, *arguments = arguments
        command = command.commands[name]
    command.lazy.load(name).make_context(name, arguments)


def imported_names():
    """What the Python examples import from torch_sr."""
    for page in PAGES:
        for block in re.findall(
            r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("torch_sr"):
                    yield from ((page.name, node.module, alias.name) for alias in node.names)


def test_python_examples_import_what_exists():
    names = list(imported_names())
    assert ("data.md", "torch_sr", "choose_images") in names
    for page, module, name in names:
        assert hasattr(importlib.import_module(module), name), f"{page}: {module}.{name}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_map_of_the_code_names_what_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text[text.index("configs/ ") :].partition("```")[0]
    for name in re.findall(r"\b(\w+\.py)\b", block):
        assert list((ROOT / "src").rglob(name)), name


def test_map_of_the_files_is_up_to_date():
    script = runpy.run_path(str(ROOT / "scripts" / "code_map.py"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == script["with_map"](text, ROOT / "src"), "run python scripts/code_map.py"


def test_map_of_the_files_has_a_line_for_each(tmp_path):
    package = tmp_path / "torch_sr"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text('"""All."""\n')
    (package / "b.py").write_text('"""What ``b`` is for.\n\nMore of it.\n"""\n')
    (package / "inner" / "__init__.py").write_text('"""A room."""\n')
    (package / "inner" / "a.py").write_text('"""First."""\n')
    (tmp_path / "native" / "tests").mkdir(parents=True)
    (tmp_path / "native" / "c.h").write_text("// Declared.\n//\n// More of it.\n")
    (tmp_path / "native" / "c.cpp").write_text('#include "c.h"\n')
    (tmp_path / "native" / "tests" / "d.cpp").write_text("// Checked.\n")
    script = runpy.run_path(str(ROOT / "scripts" / "code_map.py"))
    start, end = script["START"], script["END"]
    text = script["with_map"](f"A\n{start}\nold\n{end}\nB\n", tmp_path)
    _, block, _ = text.split("```")
    assert [line.split(maxsplit=1) for line in block.splitlines() if line] == [
        ["torch_sr/"],
        ["b.py", "What b is for"],
        ["inner/", "A room"],
        ["a.py", "First"],
        ["native/"],
        ["c.h", "Declared"],
        ["tests/"],
        ["d.cpp", "Checked"],
    ]
    assert text.startswith("A\n")
    assert text.endswith(f"{end}\nB\n")
