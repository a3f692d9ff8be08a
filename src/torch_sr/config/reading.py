"""From the text of a configuration to checked hyper-parameters, or an error in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from torch_sr.config.sections import Hyperparameters
from torch_sr.config.values import Fault, suggest
from torch_sr.errors import ConfigError


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Hyperparameters:
    """Read the JSON file of a training, in UTF-8.

    Keys left out have their defaults, and ``"$schema"`` is ignored; ``overrides`` as in
    :func:`parse_config`. What cannot be read or is wrong raises ConfigError, in one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        data = json.loads(text, object_pairs_hook=_keep_repeated)
    except OSError as error:
        raise _refusal(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(str(path), f"is not UTF-8 text: byte {error.start} is none") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refusal(str(path), f"is not JSON: {where}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _refusal(str(path), f"is not JSON that can be read: {error}") from error
    if not isinstance(data, dict):
        raise _refusal(str(path), f"holds {_show(data)}; it must hold an object in braces")
    return parse_config(data, str(path), overrides)


def parse_config(
    data: Mapping[str, object], source: str = "configuration", overrides: Sequence[str] = ()
) -> Hyperparameters:
    """Check hyper-parameters, fill in the defaults, or raise ConfigError in one line.

    Args:
        data: the sections, as JSON has them; ``"$schema"`` is ignored, nothing is changed.
        source: what an error calls the data: the name of its file.
        overrides: changes such as ``generator.num_basic_blocks=8``, the last one winning. A value
            is JSON, or else plain text: ``pretraining.scheduler=cosine``.

    """
    changed = {key: value for key, value in data.items() if key != "$schema"}
    for override in overrides:
        _apply(changed, override)
    try:
        return Hyperparameters.model_validate(changed)
    except ValidationError as invalid:
        first, *more = invalid.errors(include_url=False)
        also = f" (and {len(more)} more)" if more else ""
        source += " with overrides" if overrides else ""
        raise _refusal(source, _explain(first) + also) from None


def to_overrides(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Write a part of a configuration as overrides, such as ``generator.num_basic_blocks=8``."""
    overrides = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            overrides += to_overrides(value, f"{prefix}{key}.")
        else:
            overrides.append(f"{prefix}{key}={json.dumps(value)}")
    return overrides


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file, for editors."""
    wrapped = json.dumps(Hyperparameters.model_json_schema())
    schema = json.loads(wrapped.replace("\\n", " "))  # only the descriptions have line breaks
    pointer = {"type": "string", "description": "Where this schema is; for editors only."}
    schema["properties"] = {"$schema": pointer, **schema["properties"]}
    schema["title"] = "Hyper-parameters of torch-sr"
    schema["description"] = "All that defines a training and its networks."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one value; what is on the way to it is copied, or filled from the defaults."""
    path, equals, text = override.partition("=")
    if not equals:
        raise _refusal(f"override {_show(override)}", "it must be written as key.key=value")
    try:
        value = json.loads(text, object_pairs_hook=_keep_repeated)
    except (ValueError, RecursionError):
        value = text
    *parents, last = path.strip().split(".")
    default: Any = Hyperparameters().to_dict()
    for depth, key in enumerate(parents, start=1):
        default = default.get(key, {}) if isinstance(default, dict) else {}
        inner = data.get(key, default)
        if not isinstance(inner, Mapping):
            where = _dotted(parents[:depth])
            raise _refusal(f"override {_show(override)}", f"there is nothing below {where}")
        data[key] = dict(inner)
        data = data[key]
    data[last] = value


class _Repeated:
    """The values of a key that is there more than once: of no type that a field allows."""

    def __init__(self, *values: object) -> None:
        self.values = values


def _keep_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = _Repeated(found[key], value) if key in found else value
    return found


# --- the words of an error ---------------------------------------------------------------------

_PLAIN = {
    "model_type": "it must be an object in braces",
    "dict_type": "it must be an object in braces",
    "tuple_type": "it must be a list in brackets",
    "too_short": "it must not be empty",
    "invalid_key": "a key must be text",
}


def _refusal(source: str, text: str) -> ConfigError:
    """Build the error, on one line whatever the file's name and values hold."""
    line = f"{source}: {text}"
    return ConfigError(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    )


def _explain(error: Mapping[str, Any]) -> str:
    path, value = error["loc"], error["input"]
    fault = error.get("ctx", {}).get("error")
    if isinstance(value, _Repeated):
        remedy = "a key may be there only once"
    elif error["type"] == "extra_forbidden":
        remedy = _no_such_key(path)
    elif isinstance(fault, Fault):
        remedy = str(fault)
        if fault.path:
            path, value = (*path, *fault.path), fault.value
    else:
        remedy = _PLAIN.get(error["type"], error["msg"].replace("Input should", "it must"))
    return f"{_dotted(path)} is {_show(value)}; {remedy}"


def _no_such_key(path: Sequence[str]) -> str:
    *parents, key = path
    section: Any = Hyperparameters
    for parent in parents:
        section = section.model_fields[parent].annotation
    return f"there is no such key, {suggest(key, list(section.model_fields))}"


def _dotted(path: Iterable[str | int]) -> str:
    """Write a way into the data as ``training.g_sched_steps[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if part.isidentifier() else json.dumps(part)}"
    return text.removeprefix(".")


def _show(value: object, longest: int = 60) -> str:
    """Write a value as JSON has it, cut where it is long."""
    if isinstance(value, _Repeated):
        return " and ".join(_show(each) for each in value.values)
    text = json.dumps(value, default=_show, ensure_ascii=False, skipkeys=True)
    return text if len(text) <= longest else f"{text[:longest]}…"
