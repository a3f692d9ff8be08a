"""Write the map of the code into the README: a line for each file, from its docstring.

python scripts/code_map.py            write it
python scripts/code_map.py --check    exit with 1 if the README is not up to date
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- files: scripts/code_map.py -->", "<!-- end of files -->"


def main() -> None:
    """Write the map, or check it."""
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = with_map(old, ROOT / "src")
    if "--check" in sys.argv[1:]:
        sys.exit(0 if new == old else "README.md: run python scripts/code_map.py")
    readme.write_text(new, encoding="utf-8")


def with_map(text: str, source: Path) -> str:
    """The README's text with the map of a folder of source code between its two markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        sys.exit(f"README.md: add the lines {START} and {END}, between which the map goes")
    python, native = entries(source / "torch_sr"), native_entries(source / "native")
    lines = "\n".join(["```", "torch_sr/", *python, "", "native/", *native, "```"])
    return f"{before}{start}\n\n{lines}\n\n{end}{after}"


def entries(folder: Path, indent: int = 2) -> Iterator[str]:
    """A line for each file and folder: modules first, each folder above what is in it."""
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    for module in modules:
        yield f"{' ' * indent}{module.name:{28 - indent}} {purpose(module)}".rstrip()
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file()):
        name = f"{inner.name}/"
        yield f"{' ' * indent}{name:{28 - indent}} {purpose(inner / '__init__.py')}".rstrip()
        yield from entries(inner, indent + 2)


def native_entries(folder: Path, indent: int = 2) -> Iterator[str]:
    """A line for each C++ file that begins with a comment."""
    for file in sorted([*folder.glob("*.h"), *folder.glob("*.cpp")]):
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        if first.startswith("// "):
            text = first.removeprefix("// ").rstrip(".:")
            yield f"{' ' * indent}{file.name:{28 - indent}} {text}".rstrip()
    for inner in sorted({path.parent for path in folder.glob("*/*.cpp")}):
        yield f"{' ' * indent}{inner.name}/"
        yield from native_entries(inner, indent + 2)


def purpose(module: Path) -> str:
    """The first line of a module's docstring, without the period."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first, _, _ = text.partition("\n")
    return first.replace("``", "").rstrip(".:")


if __name__ == "__main__":
    main()
