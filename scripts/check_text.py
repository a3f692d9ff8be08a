"""Check that text files can be parsed and end with one newline.

    python scripts/check_text.py            all files that git tracks
    python scripts/check_text.py FILE ...   only these files

JSON, TOML and YAML are parsed; citation files are YAML. It prints a line for each fault, and the
exit code is 1 if there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PARSERS: dict[str, Callable[[str], object]] = {
    ".cff": yaml.safe_load,
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


def main() -> None:
    """Check the named files, by default all."""
    files = [Path(name) for name in sys.argv[1:]] or tracked_files()
    found = [fault for file in files for fault in faults(file)]
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))


def tracked_files() -> list[Path]:
    """All existing files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, text=True)  # noqa: S607
    return [path for name in listed.stdout.split("\0") if (path := Path(name)).is_file()]


def faults(file: Path) -> Iterator[str]:
    """A line for each fault of a file; none if it is not a text file."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    if "\0" in text:
        return
    if text and not text.endswith("\n"):
        yield f"{file}: add a newline at the end"
    if text.endswith("\n\n"):
        yield f"{file}: remove the empty lines at the end"
    if parse := PARSERS.get(file.suffix):
        try:
            parse(text)
        except (ValueError, yaml.YAMLError) as error:
            yield f"{file}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    main()
