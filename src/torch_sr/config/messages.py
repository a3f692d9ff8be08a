"""Error messages of a configuration: one line with key, value and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch_sr.config.sections import Hyperparameters
from torch_sr.config.suggestions import suggest_key
from torch_sr.config.text import Repeated
from torch_sr.config.values import Fault
from torch_sr.errors import ConfigError

_PLAIN = {
    "model_type": "it must be an object in braces",
    "dict_type": "it must be an object in braces",
    "tuple_type": "it must be a list in brackets",
    "too_short": "it must not be empty",
    "invalid_key": "a key must be text",
}


def refusal(source: str, text: str) -> ConfigError:
    """Build the error, on one line for any file name and values."""
    return ConfigError(printable(f"{source}: {text}"))


def printable(text: str) -> str:
    """Escape control characters and line breaks, which a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def explain(error: Mapping[str, Any]) -> str:
    """Describe an error of pydantic in one line: key, value, remedy."""
    path, value = error["loc"], error["input"]
    fault = error.get("ctx", {}).get("error")
    if isinstance(value, Repeated):
        remedy = "give this key only once"
    elif error["type"] == "extra_forbidden":
        remedy = f"there is no such key, {suggest_key(Hyperparameters, path)}"
    elif isinstance(fault, Fault):
        remedy = str(fault)
        if fault.path:
            path, value = (*path, *fault.path), fault.value
    else:
        remedy = _PLAIN.get(error["type"], error["msg"].replace("Input should", "it must"))
    remedy += _example(path, value)
    return f"{dotted(path)} is {show(value)}; {remedy}"


def _example(path: Sequence[str | int], value: object) -> str:
    """A valid value as an example: a list, or a whole number that was written as 1e5."""
    default: Any = Hyperparameters().to_dict()
    for key in path:
        default = default.get(key) if isinstance(default, dict) else None
    if isinstance(default, list) and not isinstance(value, list | tuple | Repeated):
        none = ", or [] for none" if path[-1] == "val_datasets" else ""
        single = isinstance(value, str) and str(path[-1]).endswith("_datasets")
        return f", such as {show([value] if single else default)}{none}"
    wants_whole = isinstance(default, int) or path[-1] == "num_steps"
    if wants_whole and isinstance(value, float) and value.is_integer():
        return f", such as {int(value)}"
    return ""


def dotted(path: Iterable[str | int]) -> str:
    """Write the path of a value as ``training.g_sched_steps[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if part.isidentifier() else json.dumps(part)}"
    return text.removeprefix(".")


def show(value: object, longest: int = 60) -> str:
    """Write a value as JSON; a long one is cut."""
    if isinstance(value, Repeated):
        return " and ".join(show(each) for each in value.values)
    text = json.dumps(value, default=show, ensure_ascii=False, skipkeys=True)
    return text if len(text) <= longest else f"{text[:longest]}…"
