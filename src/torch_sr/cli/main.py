"""The ``torch-sr`` command: one table of sub-commands, each a thin module.

Heavy packages are imported by the commands when they run, so that ``--help`` is quick.
Exit codes: 0 done, 1 something failed (one line on stderr), 2 wrong usage, 130 interrupted; see
docs/commands.md.
"""

from __future__ import annotations

from typing import Annotated

import typer

from torch_sr.cli.console import run_command, show_version, wants_json
from torch_sr.cli.data import command as data
from torch_sr.cli.interpolate import command as interpolate
from torch_sr.cli.models import command as models
from torch_sr.cli.test import command as test
from torch_sr.cli.train import command as train
from torch_sr.cli.upscale import command as upscale

app = typer.Typer(
    name="torch-sr",
    help="Train, test and use ESRGAN super-resolution networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("upscale")(upscale.upscale)
app.command("train")(train.train)
app.command("test")(test.test)
app.command("interpolate")(interpolate.interpolate)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Train, test and use ESRGAN super-resolution networks."""


def main() -> None:
    """Entry point of ``torch-sr`` and ``python -m torch_sr``."""
    # Without its standalone mode Typer leaves wrong usage to us, who write it as JSON.
    run_command(lambda: app(prog_name="torch-sr", standalone_mode=not wants_json()))


if __name__ == "__main__":
    main()
