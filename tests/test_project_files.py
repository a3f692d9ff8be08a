"""The files around the code agree: metadata, pins, workflow, citation, hooks."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from torch_sr import __version__

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SKIPPED = {".git", ".venv", "venv", "build", "data", "logs", "node_modules", "__pycache__"}


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def faults():
    """The check of text files, which the hooks and scripts/check run."""
    return runpy.run_path(str(ROOT / "scripts" / "check_text.py"))["faults"]


def text_files():
    for pattern in (
        "*.md",
        "*.toml",
        "*.cff",
        "*.y*ml",
        "**/*.json",
        ".github/**/*.*",
        "docs/**/*.md",
    ):
        for path in ROOT.glob(pattern):
            if not SKIPPED & set(path.relative_to(ROOT).parts):
                yield path


def test_text_files_are_sound(faults):
    files = list(text_files())
    assert {".cff", ".json", ".md", ".toml", ".yml", ".yaml"} <= {path.suffix for path in files}
    assert [fault for path in files for fault in faults(path)] == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "Expecting property name"),
        ("a.toml", "a = ", "Invalid value"),
        ("a.yml", "a: [", "expected"),
        ("a.md", "text", "add a newline"),
        ("a.md", "text\n\n", "remove the empty lines"),
    ],
)
def test_faults_of_text_files_are_reported(faults, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    found = [fault for fault in faults(tmp_path / name) if words in fault]
    assert len(found) == 1
    assert "\n" not in found[0]


def test_pythons_are_the_same_everywhere():
    found = [
        match[1]
        for line in PROJECT["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert PROJECT["requires-python"] == f">={found[0]}"
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python-version"] == found
    assert jobs["smoke"]["strategy"]["matrix"]["python-version"] == [found[0], found[-1]]


def test_the_workflow_and_the_hooks_run_what_is_there():
    steps = [
        step["run"]
        for job in read_yaml(".github/workflows/ci.yml")["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    hooks = [hook["entry"] for hook in read_yaml(".pre-commit-config.yaml")["repos"][0]["hooks"]]
    named = re.findall(r"\b(?:scripts|examples)/\S+", "\n".join([*steps, *hooks]))
    assert {"scripts/check", "scripts/check_text.py"} <= set(named)
    assert all((ROOT / name).is_file() for name in named)


def test_the_citation_has_the_version_and_the_license():
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]


def test_issue_forms_have_a_name_and_a_body():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 3
    for form in forms:
        if form.name != "config.yml":
            content = read_yaml(form)
            assert {"name", "description", "body"} <= content.keys()
            assert all("id" in field for field in content["body"])


def requirements(lines):
    """Requirements, with the extras of torch-sr itself in place of their names."""
    for line in lines:
        needed = Requirement(line)
        if needed.name != PROJECT["name"]:
            yield needed
        for extra in needed.extras if needed.name == PROJECT["name"] else ():
            yield from requirements(PROJECT["optional-dependencies"][extra])


@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_what_the_tests_need_is_pinned(python):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    environment = {"python_version": python, "extra": ""}
    pinned = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    for needed in requirements([*PROJECT["dependencies"], f"{PROJECT['name']}[client,dev]"]):
        if needed.marker is None or needed.marker.evaluate(environment):
            version = pinned.get(canonicalize_name(needed.name))
            assert version, f"{needed.name} has no pin for Python {python}"
            assert version in needed.specifier, needed
