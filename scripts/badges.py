"""Draw the badges of the README from pyproject.toml: docs/images/badges/*.svg.

python scripts/badges.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images" / "badges"
_WIDTH = 6.6  # of a character
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="20" role="img">
<title>{label}: {value}</title>
<rect width="{total:.0f}" height="20" rx="3" fill="#455a64"/>
<path d="M{left:.0f} 0h{right:.0f}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left:.0f}z" fill="{color}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{label_x:.0f}" y="14">{label}</text><text x="{value_x:.0f}" y="14">{value}</text>
</g>
</svg>
"""


def main() -> None:
    """Write all badges."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in badges().items():
        (FOLDER / f"{name}.svg").write_text(text, encoding="utf-8")


def badges() -> dict[str, str]:
    """The badges as SVG, by name of their file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table = project["project"]
    return {
        "license": draw("license", table["license"].removesuffix("-only"), "#3949ab"),
        "python": draw("Python", _python_versions(table), "#3949ab"),
        "torch": draw("PyTorch", _requirement(table, "torch"), "#d84315"),
        "types": draw("types", "mypy, strict", "#2e7d32"),
    }


def draw(label: str, value: str, color: str) -> str:
    """A badge with a gray and a colored half."""
    left, right = _WIDTH * len(label) + 12, _WIDTH * len(value) + 12
    return _SVG.format(
        label=escape(label),
        value=escape(value),
        color=color,
        left=left,
        right=right - 3,
        total=left + right,
        label_x=left / 2,
        value_x=left + right / 2,
    )


def _python_versions(table: Mapping[str, Any]) -> str:
    found = re.findall(r"Python :: (3\.\d+)'", str(table["classifiers"]))
    return " | ".join(found)


def _requirement(table: Mapping[str, Any], package: str) -> str:
    (found,) = (text for text in table["dependencies"] if re.match(rf"{package}\W", text))
    return found.removeprefix(package).replace(">=", "≥ ")


if __name__ == "__main__":
    main()
