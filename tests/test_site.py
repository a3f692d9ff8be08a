"""The pages of the site that are made from the code, and the links between its pages."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest
import typer

import torch_sr
from torch_sr.cli.main import app
from torch_sr.config import parse_config

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "reference" / "api"


@pytest.fixture(scope="module")
def site():
    """Import a module of scripts/site by name, as MkDocs does."""
    sys.path.insert(0, str(ROOT / "scripts" / "site"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "scripts" / "site"))


def commands(group, path="torch-sr"):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command.lazy.load(name)


def test_every_option_of_every_command_is_on_the_page(site):
    sections = site("options").page().split("\n## ")[1:]
    shown = {section.partition("\n")[0]: section for section in sections}
    found = dict(commands(typer.main.get_command(app)))
    assert shown.keys() == found.keys()
    for name, command in found.items():
        for option in command.params:
            if not getattr(option, "hidden", False):
                flag = max(option.opts, key=len)
                written = flag if flag.startswith("-") else flag.upper()
                assert f"`{written}`" in shown[name], f"{name}: {flag}"


def test_options_have_their_values_and_defaults(site):
    page = site("options").page()
    assert "| `--strength` | number, ≥ 0, ≤ 1 | 0.7; with -m, that of the named model |" in page
    assert "[default:" not in page
    assert "Environment variable: `TORCH_SR_DATA`." in page


def keys(section, path=()):
    for name, value in section.items():
        yield ".".join(path), name
        if isinstance(value, dict) and name not in ("layer_weights", "kernels"):
            yield from keys(value, (*path, name))


def test_every_key_of_the_configuration_is_on_the_page(site):
    sections = site("configuration").page().split("\n## ")[1:]
    shown = {section.partition("\n")[0]: section for section in sections}
    for path, name in keys(parse_config({}).to_dict()):
        own = f"{path}.{name}".lstrip(".")
        assert own in shown or f"| `{name}` |" in shown[path or "The top level"], own


def test_values_of_keys_are_in_words(site):
    page = site("configuration").page()
    assert "| `batch_size` | integer, ≥ 1 | `16` | Crops in a mini-batch" in page
    assert '| `loss_f` | `"l1"`, `"l2"`, `"mse"` | `"l1"` |' in page
    assert "| `cr_patch_size` | 2 of integer, ≥ 1 or `null` |" in page


def test_every_public_name_has_one_place_in_the_reference():
    text = "\n".join(page.read_text(encoding="utf-8") for page in API.glob("*.md"))
    names = re.findall(r"^::: torch_sr\.(\w+)$", text, re.MULTILINE)
    assert sorted(names) == sorted(set(torch_sr.__all__) - {"__version__"})


@pytest.fixture
def links(site, tmp_path):
    for name in ("docs/guides/a.md", "docs/b.md", "CHANGELOG.md", "configs/c.json", "setup.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return site("links").Links(tmp_path, {"CHANGELOG.md": "about/changes.md"})


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("../b.md", "../b.md"),
        ("../b.md#part", "../b.md#part"),
        ("../../CHANGELOG.md", "../about/changes.md"),
        ("../../configs/c.json", "../files/configs/c.json"),
        ("../../setup.sh", "../files/setup.sh.txt"),
        ("../../missing.md", "../../missing.md"),  # MkDocs reports it
        ("https://example.com/x.md", "https://example.com/x.md"),
    ],
)
def test_links_out_of_the_docs_lead_to_the_site(links, tmp_path, link, expected):
    source = tmp_path / "docs" / "guides" / "a.md"
    assert links.rewrite(f"[x]({link})", source, "guides/a.md") == f"[x]({expected})"


def test_pages_from_elsewhere_have_links_into_the_docs(links, tmp_path):
    rewritten = links.rewrite("[b](docs/b.md)", tmp_path / "CHANGELOG.md", "about/changes.md")
    assert rewritten == "[b](../b.md)"


def test_linked_files_are_copied(links, tmp_path):
    page = tmp_path / "docs" / "guides" / "a.md"
    page.write_text("[c](../../configs/c.json), [b](../b.md), [log](../../CHANGELOG.md)")
    copied = links.copied_files([page])
    assert copied == {"files/configs/c.json": tmp_path / "configs" / "c.json"}


def test_docstrings_become_markdown(site):
    to_markdown = site("roles").to_markdown
    text = to_markdown("See :class:`~torch_sr.Upscaler` and ``x``::\n\n>>> f(1)\n2", "torch_sr.f")
    assert (
        '<autoref optional identifier="torch_sr.Upscaler"><code>Upscaler</code></autoref>' in text
    )
    assert "and `x`:\n" in text
    assert text.endswith("```pycon\n>>> f(1)\n2\n```\n")


def test_badges_say_what_the_package_says():
    script = runpy.run_path(str(ROOT / "scripts" / "badges.py"))
    for name, text in script["badges"]().items():
        shown = (ROOT / "docs" / "images" / "badges" / f"{name}.svg").read_text(encoding="utf-8")
        assert shown == text, "run python scripts/badges.py"
