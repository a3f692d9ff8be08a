"""Write what the commands in docs/guides/scale.md print below each of them.

python scripts/plan_examples.py            write it
python scripts/plan_examples.py --check    exit with 1 if the page is not up to date

A block of text that has no sources keeps none.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import typer

from torch_sr.cli.main import COMMANDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "scale.md"
EXAMPLE = re.compile(r"```sh\n(torch-sr plan [^`]*)\n```\n\n```text\n([^`]*)```")


def main() -> None:
    """Write the outputs, or check them."""
    old = PAGE.read_text(encoding="utf-8")
    new = EXAMPLE.sub(_example, old)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if new == old else f"{PAGE.name}: run python scripts/plan_examples.py")
    PAGE.write_text(new, encoding="utf-8")


def output_of(command: str, *, sources: bool) -> str:
    """What a command prints, with or without its last block."""
    words = shlex.split(command.replace("\\\n", " "))[2:]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        plan: typer.core.TyperCommand = COMMANDS["plan"].load("plan")
        plan.main(words, standalone_mode=False)
    text = printed.getvalue()
    return text if sources else text.partition("\n\nSources\n")[0] + "\n"


def _example(match: re.Match[str]) -> str:
    command, old = match.groups()
    text = output_of(command, sources="\nSources\n" in old)
    return f"```sh\n{command}\n```\n\n```text\n{text}```"


if __name__ == "__main__":
    main()
