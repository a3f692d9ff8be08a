"""Errors of the system end every command in one line; warnings of libraries are silent."""

from __future__ import annotations

import errno
import json
import os
import sys
import warnings

import pytest

from torch_sr.cli.exits import run_command

LONG = "a" * 300


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run ``torch-sr`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "check", LONG),
        ("data", "list", "--data-root", LONG),
        ("models", "convert", "compact-x4", f"{LONG}.pth"),
        ("models", "extract", f"{LONG}.pth", "o.pth"),
        ("models", "info", f"{LONG}.pth"),
        ("test", "compact-x4", "--data-root", LONG),
        ("test", "compact-x4", "--csv", f"{LONG}.csv"),
        ("upscale", f"{LONG}.png"),
        ("upscale", f"{LONG}.mp4"),
        ("upscale", "a.png", "-m", f"{LONG}.pth"),
        ("train", f"{LONG}.json"),
        ("train", "--images", LONG),
    ],
    ids=" ".join,
)
def test_names_that_are_too_long_end_every_command_in_one_line(run, arguments):
    code, _, err = run(*arguments)
    assert code == 1
    first, *others = err.splitlines()
    assert LONG in first
    assert "use a shorter name (File name too long)" in first
    assert others in ([], ["0 done, 1 failed"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "loop.pth", "other.pth"),
        ("upscale", "a.png", "-m", "loop.pth"),
        ("upscale", "loop.pth/a.png", "-o", "new"),
        ("train", "--images", "loop.pth"),
    ],
    ids=" ".join,
)
def test_loops_of_links_end_in_one_line(run, tmp_path, arguments):
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    code, _, err = run(*arguments)
    assert code == 1
    assert "remove the symbolic links that form a loop" in err.splitlines()[0]


def test_homes_of_unknown_users_are_plain_names(run):
    assert run("models", "info", "~nobody-of-this-name/x.pth") == (
        1, "", "torch-sr: error: ~nobody-of-this-name/x.pth does not exist\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "check the permissions"),
        (errno.EEXIST, "choose another name"),
        (errno.ENOSPC, "make room on the disk"),
        (errno.ENOTDIR, "name a folder"),
        (errno.EROFS, "choose a folder that can be written to"),
        (errno.ESTALE, "check the path and the disk"),
    ],
)
def test_errors_of_the_system_give_file_remedy_and_cause(monkeypatch, capsys, number, remedy):
    monkeypatch.setattr(sys, "argv", ["torch-sr", "--json"])

    def fail():
        raise OSError(number, os.strerror(number), "one\ntwo.png")

    with pytest.raises(SystemExit) as stop:
        run_command(fail)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    message = json.loads(out)["error"]["message"]
    assert json.loads(out)["error"] == {"type": "OSError", "message": message, "exit_code": 1}
    assert err == f"torch-sr: error: {message}\n"
    assert message.startswith(f"one\\ntwo.png: {remedy}")
    assert message.endswith(f"({os.strerror(number)})")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_cannot_be_written_ends_in_one_line(monkeypatch, capfd, options):
    monkeypatch.setattr(sys, "argv", ["torch-sr", *options])
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: print("buffered until the end"))
    assert stop.value.code == 1
    assert capfd.readouterr().err == (
        "torch-sr: error: the output cannot be written: make room on the disk "
        f"({os.strerror(errno.ENOSPC)})\n"
    )


def test_system_errors_without_a_file_are_bugs():
    with pytest.raises(OSError, match="nothing named"):
        run_command(lambda: exec("raise OSError(22, 'nothing named')"))


@pytest.mark.parametrize(("options", "shown"), [([], 0), (["default"], 1)])
def test_warnings_of_libraries_are_shown_only_when_asked_for(monkeypatch, options, shown):
    monkeypatch.setattr(sys, "warnoptions", options)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        with pytest.raises(SystemExit):
            run_command(lambda: warnings.warn("from a library", UserWarning, stacklevel=1))
    assert len(seen) == shown


@pytest.mark.parametrize("option", ["--out", "--model"])
def test_empty_names_of_results_and_models_are_wrong_usage(run, option):
    code, _, err = run("upscale", "a.png", option, "")
    assert code == 2
    assert "name is empty" in err


def test_an_installation_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)

    def load():
        import torch  # noqa: F401

    with pytest.raises(SystemExit) as stop:
        run_command(load)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("torch-sr: error: torch is not installed; run: pip install torch")


def test_other_missing_modules_are_bugs():
    def load():
        import a_module_that_is_missing  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        run_command(load)
