"""Import every option file of other training programs, and count what becomes of them.

    git clone https://github.com/XPixelGroup/BasicSR
    python benchmarks/option_files.py BasicSR Real-ESRGAN neosr traiNNer-redux

For each checkout: how many files of ``options/`` become the configuration of a training or the
command of a test, and why the others are refused. Every value of a file must be reported exactly
once, which is checked with other parsers. ``--missing`` also prints the keys without a counterpart,
the most frequent first.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from torch_sr.config import parse_config
from torch_sr.config.importing import ImportedOptions, import_options
from torch_sr.config.importing.leaves import write_path
from torch_sr.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_REFUSALS = {
    "network_g.type": "another network",
    "this one exports to ONNX": "an export",
    "is for videos": "videos",
}


def main() -> None:
    """Print a line for each checkout, and with ``--missing`` the keys without a counterpart."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--missing", action="store_true", help="print keys without a counterpart")
    arguments = parser.parse_args()
    missing: Counter[str] = Counter()
    for checkout in arguments.checkouts:
        counts: Counter[str] = Counter()
        for path in option_files(checkout):
            try:
                imported = import_options(path)
            except ConfigError as error:
                reasons = [text for part, text in _REFUSALS.items() if part in str(error)]
                counts[reasons[0] if reasons else str(error)] += 1
                continue
            check(path, imported)
            counts["tests" if imported.config is None else "trainings"] += 1
            missing.update(
                entry.key.rpartition("].")[2]
                for entry in imported.entries
                if entry.status == "missing"
            )
        print(f"{checkout.name}: {sum(counts.values())} files")
        for what, count in counts.most_common():
            print(f"{count:6} {what}")
    for key, count in missing.most_common() if arguments.missing else ():
        print(f"{count:6} {key}")


def option_files(checkout: Path) -> list[Path]:
    """All option files of a checkout."""
    files = (checkout / "options").rglob("*")
    return sorted(path for path in files if path.suffix in (".yml", ".yaml", ".toml"))


def check(path: Path, imported: ImportedOptions) -> None:
    """Check that every value is reported once, and that the configuration is valid."""
    text = path.read_text(encoding="utf-8")
    data = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    reported = Counter(entry.key for entry in imported.entries if entry.line)
    assert reported == Counter(keys_of(data)), path
    if imported.config is not None:
        parse_config(imported.config)


def keys_of(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    """The keys of all values of nested data."""
    if isinstance(data, dict) and data:
        for key, inner in data.items():
            yield from keys_of(inner, (*path, key))
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        for number, item in enumerate(data):
            yield from keys_of(item, (*path, number))
    else:
        yield write_path(path)


if __name__ == "__main__":
    main()
