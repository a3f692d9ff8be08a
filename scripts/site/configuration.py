"""The page of all keys of a configuration, from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from torch_sr.config import json_schema

_INTRODUCTION = """\
# Configuration

All keys of the JSON file that `torch-sr train` reads; missing keys have their defaults. `torch-sr
train FILE --print-config` prints a complete file, and `--set generator.num_basic_blocks=8`
overrides a key. Names and defaults are those of the table of hyper-parameters of
[enhanced-srgan](description.md). [Training](../guides/training.md) explains how they work
together. Editors check a file that names [`configs/schema.json`](../files/configs/schema.json) in
a `"$schema"` key.
"""
_TYPES = {"boolean": "`true`, `false`", "string": "text", "null": "`null`"}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_HEADER = "| key | value | default | |\n|---|---|---|---|"


def page() -> str:
    """The page in Markdown: a table for each section of the configuration."""
    schema = json_schema()
    return "\n\n".join([_INTRODUCTION, *_sections(schema, schema, ())]) + "\n"


def _sections(
    schema: Mapping[str, Any], section: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[str]:
    """The table of a section, then those of the sections in it."""
    keys = {name: key for name, key in section["properties"].items() if "$schema" not in name}
    inner = {name: _resolve(schema, key) for name, key in keys.items()}
    plain = {name: key for name, key in keys.items() if "properties" not in inner[name]}
    yield f"## {'.'.join(path)}" if path else "## The top level"
    yield section.get("description", "")
    yield "\n".join([_HEADER, *(_row(schema, name, key) for name, key in plain.items())])
    for name in [name for name in keys if name not in plain]:
        yield from _sections(schema, {**inner[name], **_description(keys[name])}, (*path, name))


def _description(key: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": key["description"]} if "description" in key else {}


def _resolve(schema: Mapping[str, Any], key: Mapping[str, Any]) -> Mapping[str, Any]:
    name = key.get("$ref", "").removeprefix("#/$defs/")
    return schema["$defs"][name] if name else key


def _row(schema: Mapping[str, Any], name: str, key: Mapping[str, Any]) -> str:
    description = key.get("description", "").replace("|", "\\|")
    default = f"`{json.dumps(key['default'], ensure_ascii=False)}`" if "default" in key else ""
    return f"| `{name}` | {_values(schema, key)} | {default} | {description} |"


def _values(schema: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """What values a key accepts, in words."""
    key = _resolve(schema, key)
    if "anyOf" in key:
        return " or ".join(_values(schema, choice) for choice in key["anyOf"])
    if "enum" in key:
        return ", ".join(f"`{json.dumps(value)}`" for value in key["enum"])
    if "const" in key:
        return f"`{json.dumps(key['const'])}`"
    if key.get("type") == "array":
        return _list(schema, key)
    if key.get("type") == "object":
        return f"object of {_values(schema, key.get('additionalProperties', {}))}"
    words = _TYPES.get(key.get("type", ""), key.get("type", ""))
    limits = (f"{sign} {_number(key[name])}" for name, sign in _SIGNS.items() if name in key)
    return ", ".join([words, *limits])


def _list(schema: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    items = key.get("prefixItems") or [key["items"]]
    kinds = " or ".join(dict.fromkeys(_values(schema, item) for item in items))
    fixed = key.get("minItems") == key.get("maxItems") is not None
    return f"{key['minItems']} of {kinds}" if fixed else f"list of {kinds}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
