"""The ``torch-sr`` command and the table of its subcommands.

A command is imported when it is called (:mod:`torch_sr.cli.lazy`), so that ``--help`` and
completion are quick. Each is a function whose parameters become options
(:mod:`torch_sr.cli.options`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from torch_sr._version import __version__
from torch_sr.cli.exits import exit_quickly, run_command, wants_json
from torch_sr.cli.lazy import Lazy, group

_CLI = "torch_sr.cli"

COMMANDS = {
    "upscale": Lazy(
        f"{_CLI}.upscale.command:upscale",
        "Super-resolve images and videos: photo.jpg becomes photo_sr.jpg.",
    ),
    "train": Lazy(
        f"{_CLI}.train.command:train",
        "Train a generator, from a configuration or from a folder of photographs (--images).",
    ),
    "test": Lazy(
        f"{_CLI}.test.command:test",
        "Measure models on data sets and compare them with bicubic interpolation.",
    ),
    "interpolate": Lazy(
        f"{_CLI}.interpolate.command:interpolate",
        "Mix the weights of networks: (1 - alpha) * FIRST + alpha * SECOND.",
    ),
    "export": Lazy(
        f"{_CLI}.export.command:export",
        "Write a model as ONNX, TorchScript, OpenVINO or ncnn, checked against PyTorch.",
    ),
    "serve": Lazy(
        f"{_CLI}.serve.command:serve",
        "Serve a page and an HTTP API that upscale images.",
    ),
    "plan": Lazy(
        f"{_CLI}.plan.command:plan",
        "Print what a large job will cost: devices, hours, network, requests, storage, money.",
    ),
    "doctor": Lazy(
        f"{_CLI}.doctor.command:doctor",
        "Report devices, engines, packages and folders; exit code 1 if something is broken.",
    ),
}
MODELS = {
    "list": Lazy(
        f"{_CLI}.models.listing:list_models",
        "List the models that have names, and where each comes from.",
    ),
    "info": Lazy(
        f"{_CLI}.models.info:info",
        "Print the contents of a weights file: architecture, scale, sizes, cost, hashes, records.",
    ),
    "convert": Lazy(
        f"{_CLI}.models.convert:convert",
        "Write a model in another layout, file format or dtype.",
    ),
    "extract": Lazy(f"{_CLI}.models.convert:extract", "Make a model from a training checkpoint."),
    "annotate": Lazy(
        f"{_CLI}.models.annotate:annotate",
        "Record the name, author, license, description or data set of a model in its file.",
    ),
    "verify": Lazy(
        f"{_CLI}.models.verify:verify",
        "Check files against their recorded hashes, and their weights for NaN and infinity.",
    ),
    "download": Lazy(
        f"{_CLI}.models.downloads:download",
        "Download models ahead of time; installed and downloaded models are kept.",
    ),
    "remove": Lazy(f"{_CLI}.models.downloads:remove", "Remove downloaded models."),
    "path": Lazy(
        f"{_CLI}.models.downloads:path",
        "Print the path of a model, or without a name the folder of downloaded models.",
    ),
}
CONFIG = {
    "import": Lazy(
        f"{_CLI}.config.importing:import_file",
        "Convert an option file of BasicSR, Real-ESRGAN, neosr or traiNNer-redux.",
    ),
    "check": Lazy(
        f"{_CLI}.config.showing:check",
        "Check a configuration; exit code 1 if a key or value is wrong.",
    ),
    "show": Lazy(
        f"{_CLI}.config.showing:show",
        "Print the complete configuration, with the defaults of all keys.",
    ),
    "schema": Lazy(
        f"{_CLI}.config.showing:schema",
        "Print the JSON Schema of a configuration, for editors.",
    ),
}
DATA = {
    "list": Lazy(
        f"{_CLI}.data.listing:list_datasets",
        "List the data sets known by name, and where they are.",
    ),
    "download": Lazy(
        f"{_CLI}.data.download:download",
        "Download data sets from where they are published; an interrupted download is resumed.",
    ),
    "check": Lazy(
        f"{_CLI}.data.check:check",
        "Find faults of data sets: sizes, shifts, colors, duplicates; exit code 1 if any.",
    ),
    "prepare": Lazy(
        f"{_CLI}.data.prepare:prepare",
        "Decode data sets into the cache now, rather than when a training starts.",
    ),
    "degrade": Lazy(
        f"{_CLI}.data.degrade:degrade",
        "Write pairs of high resolution (HR) and degraded low resolution (LR).",
    ),
}

app = group(
    "Train, test and use ESRGAN super-resolution networks.",
    COMMANDS,
    name="torch-sr",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(group("List, download, inspect, convert and make models.", MODELS), name="models")
app.add_typer(group("Import, check and print configurations of trainings.", CONFIG), name="config")
app.add_typer(group("List, download, check, prepare and degrade data sets.", DATA), name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"torch-sr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of ``torch-sr`` itself."""


def main() -> None:
    """Run the command line of this process; always raises SystemExit."""
    # In standalone mode, Typer prints usage errors itself; otherwise run_command prints JSON.
    run_command(lambda: app(prog_name="torch-sr", standalone_mode=not wants_json()))


def program() -> None:
    """Entry point of ``torch-sr`` and ``python -m torch_sr``: main, then a quick exit."""
    try:
        main()
    except SystemExit as end:
        exit_quickly(end.code)
