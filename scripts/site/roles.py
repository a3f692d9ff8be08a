"""Show Sphinx roles of docstrings, such as :class:`~torch_sr.Upscaler`, as links of the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|obj|exc):`(~?)([^`]+)`")


class Roles(griffe.Extension):
    """Rewrite roles, literals and examples of every docstring as Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value, obj.path)


def to_markdown(text: str, path: str) -> str:
    """The docstring of the object at a path such as torch_sr.Upscaler, in Markdown."""

    def link(match: re.Match[str]) -> str:
        full = match[2] if "." in match[2] else f"{path}.{match[2]}"
        short = match[2].rpartition(".")[2] if match[1] else match[2]
        # Optional: a name that has no page stays plain text.
        return f'<autoref optional identifier="{full}"><code>{short}</code></autoref>'

    text = _ROLE.sub(link, text).replace("``", "`")
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _EXAMPLE.sub(lambda example: f"```pycon\n{example[0].rstrip()}\n```\n", text)
