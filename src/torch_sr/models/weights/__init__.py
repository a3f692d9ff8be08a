"""The models that ship with the package, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch_sr.errors import ModelError

SHIPPED = {"compact-x4": "compact_x4.safetensors"}


def model_path(name_or_path: str | Path) -> Path:
    """The file of a shipped model, or the path itself.

    Raises:
        ModelError: when there is neither a model nor a file of that name.
    """
    if str(name_or_path) in SHIPPED:
        return Path(__file__).parent / SHIPPED[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.exists() or len(path.parts) > 1 or path.suffix:
        return path
    near = difflib.get_close_matches(str(name_or_path), SHIPPED, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(SHIPPED)}"
    raise ModelError(f"model {str(name_or_path)!r}: neither a file nor a known name; {hint}")
