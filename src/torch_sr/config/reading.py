"""Read a configuration: checked hyper-parameters, or an error in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from torch_sr.config.messages import explain, refusal, show
from torch_sr.config.overrides import apply_override
from torch_sr.config.sections import Hyperparameters
from torch_sr.config.text import NotJSON, decode, name_format, parse_json
from torch_sr.files import explain as explain_system_error


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Hyperparameters:
    """Read the file of a training: JSON or JSON5, in UTF-8, UTF-16 or UTF-32.

    Missing keys have their defaults, and ``"$schema"`` is ignored; ``overrides`` as in
    :func:`parse_config`. A file that cannot be read or has a wrong value raises ConfigError.
    """
    try:
        text = decode(Path(path).read_bytes())
        data = parse_json(text)
    except OSError as error:
        raise refusal(str(path), explain_system_error(error)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refusal(
            str(path), f"save it as UTF-8: line {line} is not UTF-8 text (byte {error.start})"
        ) from error
    except NotJSON as error:
        other = name_format(Path(path), text)
        if other is None:
            raise refusal(str(path), f"is not JSON: {error}") from error
        importing = "torch-sr config import converts the option files of other programs"
        raise refusal(str(path), f"write it as JSON; it is {other} ({importing})") from error
    if not isinstance(data, dict):
        raise refusal(str(path), f"contains {show(data)}; it must contain an object in braces")
    return parse_config(data, str(path), overrides)


def parse_config(
    data: Mapping[str, object], source: str = "configuration", overrides: Sequence[str] = ()
) -> Hyperparameters:
    """Check hyper-parameters and fill in the defaults; wrong ones raise ConfigError.

    Args:
        data: the sections, as in JSON; ``"$schema"`` is ignored. It is not changed.
        source: the name of the data in errors, such as that of its file.
        overrides: changes such as ``generator.num_basic_blocks=8``; the last one wins. A value is
            written as in JSON or in Python and needs no quotes: ``training.betas=0.9,0.99``,
            ``pretraining.train_datasets=div2k,photos``. A key that both stages have may be given
            without its section, for both: ``train_datasets=photos``.

    """
    changed = {key: value for key, value in data.items() if key != "$schema"}
    for override in overrides:
        apply_override(changed, override)
    try:
        return Hyperparameters.model_validate(changed)
    except ValidationError as invalid:
        first, *more = invalid.errors(include_url=False)
        also = f" (and {len(more)} more)" if more else ""
        source += " with overrides" if overrides else ""
        raise refusal(source, explain(first) + also) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file, for editors."""
    wrapped = json.dumps(Hyperparameters.model_json_schema())
    schema = json.loads(re.sub(r"(\\n)+", " ", wrapped))  # only descriptions have line breaks
    pointer = {"type": "string", "description": "Where this schema is; for editors only."}
    schema["properties"] = {"$schema": pointer, **schema["properties"]}
    schema["title"] = "Hyper-parameters of torch-sr"
    schema["description"] = "Everything that defines a training and its networks."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
