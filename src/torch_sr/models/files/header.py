"""The records in the header of a safetensors file, read and changed without its tensors.

The format is the length of the header, the header as JSON, and the numbers. Nothing here imports
PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from torch_sr.errors import ModelError


def read_metadata(path: Path) -> dict[str, str]:
    """The records of a safetensors file, by their current names.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return rename_former_keys(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def with_metadata(data: bytes, change: Callable[[dict[str, str]], dict[str, str]]) -> bytes:
    """Change the records in the bytes of a safetensors file, in the order of their names.

    safetensors itself would write the records in a different order each time.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = dict(sorted(change(header.pop("__metadata__", {})).items()))
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + data[end:]


def rename_former_keys(records: Mapping[Any, Any]) -> dict[str, Any]:
    """Records by their current names: the key ``license`` used to be ``licence``."""
    found = {str(key): value for key, value in records.items()}
    former = found.pop("licence", None)
    return found if former is None else {"license": former, **found}
