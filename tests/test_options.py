"""Options made from settings classes, and commands that are imported when they are called."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from torch_sr.cli.lazy import Lazy
from torch_sr.cli.main import COMMANDS, CONFIG, DATA, MODELS
from torch_sr.cli.options import with_options
from torch_sr.errors import ConfigError
from torch_sr.options import Option, build, option_fields, spell, split_commas
from torch_sr.training.settings import Every, RunSettings


def parse_even(text):
    if int(text) % 2:
        raise ConfigError(f"{text} is odd")
    return int(text)


@dataclass(frozen=True)
class Inner:
    every: Annotated[int, Option("An even number.", ("--inner-every", "-e"), parse=parse_even)] = 2
    hidden: str = "inner"


@dataclass(frozen=True)
class Outer:
    folder: Annotated[Path, Option("A folder.", env="TEST_FOLDER")] = Path("here")
    inner: Inner = field(default_factory=Inner)
    names: Annotated[tuple[str, ...], Option("Names.", parse=split_commas)] = ()
    count: Annotated[int | None, Option("A count.", min=1, default="all", panel="Counts")] = None
    kind: Annotated[Literal["a", "b"], Option("A kind.")] = "a"
    quick: Annotated[bool, Option("Quick.")] = False
    safe: Annotated[bool, Option("Safe.")] = True
    hidden: int = 7


def make_app(received):
    def command(
        image: Annotated[Path, typer.Argument()],
        *,
        settings: Outer,
        loud: Annotated[bool, Option("Loud.", ("--loud", "-l"))] = False,
    ) -> None:
        """Do it."""
        received.append((image, settings, loud))

    made = typer.Typer()
    made.command()(with_options(command))
    return made


def test_a_command_receives_its_settings():
    received = []
    words = ["x.png", "-e", "4", "--names", "p, q", "--kind", "b", "--quick", "--no-safe", "-l"]
    result = CliRunner().invoke(make_app(received), [*words, "--count", "3"])
    assert result.exit_code == 0, result.output
    settings = Outer(Path("here"), Inner(4), ("p", "q"), 3, "b", quick=True, safe=False)
    assert received == [(Path("x.png"), settings, True)]


def test_defaults_are_those_of_the_class_or_of_the_environment(monkeypatch):
    received = []
    made = make_app(received)
    assert CliRunner().invoke(made, ["x.png"]).exit_code == 0
    monkeypatch.setenv("TEST_FOLDER", "there")
    assert CliRunner().invoke(made, ["x.png"]).exit_code == 0
    assert [settings for _, settings, _ in received] == [Outer(), Outer(Path("there"))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "3"], "3 is odd"),
        (["--count", "0"], "greater than or equal to 1"),
        (["--kind", "c"], "'c' is not one of"),
        (["--hidden", "1"], "No such option"),
        (["--no-quick"], "No such option"),
    ],
)
def test_wrong_values_are_wrong_usage(words, message):
    result = CliRunner().invoke(make_app([]), ["x.png", *words])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_help_shows_descriptions_defaults_and_panels():
    result = CliRunner().invoke(make_app([]), ["--help"], env={"COLUMNS": "200"})
    text = result.output
    for words in ("An even number.", "[default: all]", "[default: 2]", "TEST_FOLDER", "Counts"):
        assert words in text
    assert "hidden" not in text


def test_settings_are_spelled_as_the_words_that_make_them():
    settings = Outer(Path("new"), Inner(8), ("a", "b"), 2, "b", quick=True, safe=False)
    words = list(spell(settings))
    assert words == [
        *("--folder", "new", "--inner-every", "8", "--names", "a,b", "--count", "2"),
        *("--kind", "b", "--quick", "--no-safe"),
    ]
    assert list(spell(settings, leave_out=["folder", "names"]))[:2] == ["--inner-every", "8"]
    assert list(spell(Outer())) == []
    received = []
    CliRunner().invoke(make_app(received), ["x.png", *words])
    assert received[0][1] == settings


def test_settings_are_built_by_the_names_of_options():
    values = {"data_root": Path("d"), "checkpoint_interval": Every(3), "out": Path("o"), "x": 1}
    settings = build(RunSettings, values)
    assert (settings.data_root, settings.out_dir) == (Path("d"), Path("o"))
    assert settings.intervals.checkpoint == Every(3)
    assert "cache_dir" not in {option.name for option in option_fields(RunSettings)}


# --- Commands that are imported when they are called ----------------------------------------------


def commands():
    return {
        **COMMANDS,
        **{f"models {name}": lazy for name, lazy in MODELS.items()},
        **{f"config {name}": lazy for name, lazy in CONFIG.items()},
        **{f"data {name}": lazy for name, lazy in DATA.items()},
    }


def loaded(name):
    """The command of a name such as ``models list``, imported."""
    return commands()[name].load(name.rpartition(" ")[2])


@pytest.mark.parametrize("name", commands())
def test_the_line_in_the_table_is_the_first_of_the_help(name):
    lazy = commands()[name]
    assert isinstance(lazy, Lazy)
    first, _, _ = loaded(name).help.partition("\n\n")
    assert " ".join(first.split()) == lazy.line


def test_a_short_option_means_the_same_everywhere():
    meanings = {}
    for name in commands():
        for option in loaded(name).params:
            long = [flag for flag in option.opts if flag.startswith("--")]
            for flag in option.opts:
                if flag.startswith("-") and not flag.startswith("--"):
                    meanings.setdefault(flag, set()).update(long)
    assert {flag: len(long) for flag, long in meanings.items()} == dict.fromkeys(meanings, 1)
    assert {*meanings} == {"-m", "-o", "-d", "-l", "-i", "-w", "-c", "-q"}


def test_every_option_is_described():
    for name in commands():
        for option in loaded(name).params:
            assert getattr(option, "help", None), f"{name}: {option.name}"


def test_options_are_known_without_pytorch():
    code = (
        "import sys\n"
        "from torch_sr.cli.main import COMMANDS\n"
        "for name, lazy in COMMANDS.items():\n"
        "    lazy.load(name)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
