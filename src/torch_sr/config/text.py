"""Parse JSON, JSON5 and the values of overrides into plain data.

JSON5 allows comments, trailing commas, single quotes and keys without quotes. YAML and TOML are
recognized, so that the error can name them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

_JSON5_ERROR = re.compile(r"<string>:(\d+) (Unexpected .*) at column (\d+)", re.DOTALL)
_TOML_LINE = re.compile(r"\[[\w.\"-]+\]|[\w.\"-]+\s*=.*")
_HINTS = {
    "True": "write true, not True",
    "False": "write false, not False",
    "None": "write null, not None",
    "#": "comments start with //",
    **{character: f'Unexpected "{character}"' for character in ",;="},
}


class NotJSON(ValueError):  # noqa: N818
    """A text is neither JSON nor JSON5; the message says where and why."""


class Repeated:
    """The values of a duplicate key; a type that no field accepts."""

    def __init__(self, *values: object) -> None:
        self.values = values


def decode(content: bytes) -> str:
    """Decode UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        return content.decode("utf-8-sig")


def parse_json(text: str) -> Any:
    """Parse JSON or JSON5; the values of repeated keys become :class:`Repeated`.

    Raises:
        NotJSON: it is neither.
    """
    try:
        return json.loads(text, object_pairs_hook=_keep_repeated)
    except json.JSONDecodeError as error:
        strict = error
    except RecursionError as error:
        raise NotJSON("too deeply nested") from error
    except ValueError as error:  # a number of thousands of digits
        raise NotJSON(str(error)) from error
    return _parse_json5(text, strict)


def _parse_json5(text: str, strict: json.JSONDecodeError) -> Any:
    import json5  # slow to import, and only needed for files that are not strict JSON

    try:
        return json5.loads(text, object_pairs_hook=_keep_repeated)
    except RecursionError as error:
        raise NotJSON("too deeply nested") from error
    except ValueError as error:
        raise NotJSON(_explain(text, strict, str(error))) from error


def name_format(path: Path, text: str) -> str | None:
    """Name the format of a text that is not JSON, if it is YAML or TOML."""
    lines = [line.strip() for line in text.splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if path.suffix.lower() == ".toml" or _TOML_LINE.fullmatch(first):
        return "TOML"
    if path.suffix.lower() in (".yaml", ".yml") or re.match(r"---|[\w-]+:(\s|$)", first):
        return "YAML"
    return None


def parse_value(text: str) -> Any:
    """The value of an override: JSON, a Python literal, a list without quotes, or plain text.

    Raises:
        ValueError: for a bracket that is not closed.

    >>> parse_value("[a, 'b c', 2e-4]"), parse_value("(0.9, 0.99)"), parse_value("cosine")
    (['a', 'b c', 0.0002], (0.9, 0.99), 'cosine')
    """
    text = text.strip()
    with suppress(ValueError, RecursionError):
        return json.loads(text, object_pairs_hook=_keep_repeated)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = _parse_literal(text)
        if isinstance(value, str | int | float | list | tuple | dict | None):
            return value
    if text.startswith(("[", "(")):
        if not text.endswith(("]", ")")):
            raise ValueError("close the bracket")
        return [parse_value(item) for item in split_list(text[1:-1])]
    if text.startswith("{") and text.endswith("}"):
        pairs = (item.partition(":") for item in split_list(text[1:-1]))
        return {str(parse_value(key)): parse_value(value) for key, _, value in pairs}
    return text


def split_list(text: str) -> list[str]:
    """Split a text at the commas outside quotes and brackets; a last, empty item is dropped."""
    items, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not items[-1].strip():  # not an apostrophe inside a name
            quote = character
        elif character in "[({":
            depth += 1
        elif character in "])}":
            depth -= 1
        elif character == "," and depth == 0:
            items.append("")
            continue
        items[-1] += character
    stripped = [item.strip() for item in items]
    return stripped[:-1] if not stripped[-1] else stripped


def _parse_literal(text: str) -> object:
    with catch_warnings():
        simplefilter("ignore")  # such as for "1or 2", which is not a literal
        value: object = ast.literal_eval(text)
    return value


def _keep_repeated(pairs: Iterable[tuple[str, Any]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = Repeated(found[key], value) if key in found else value
    return found


def _explain(text: str, strict: json.JSONDecodeError, lenient: str) -> str:
    """The error of that parser, of JSON or JSON5, which read further."""
    line, column, reason = strict.lineno, strict.colno, strict.msg
    found = _JSON5_ERROR.match(lenient)
    if found and (int(found[1]), int(found[3])) > (line, column):
        line, reason, column = int(found[1]), found[2], int(found[3])
    rest = "".join(text.splitlines()[line - 1 : line])
    for start in (column - 1, column - 2):  # json5 is one ahead if it expects a key or NaN
        for found_there, hint in _HINTS.items():
            if start >= 0 and rest.startswith(found_there, start):
                return f"line {line}, column {start + 1}: {hint}"
    return f"line {line}, column {column}: {reason}"
