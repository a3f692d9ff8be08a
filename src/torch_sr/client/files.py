"""What a client sends, and where it writes results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from torch_sr.errors import ImageError
from torch_sr.files import atomic_write, explain


@dataclass(frozen=True)
class Upload:
    """An image to send, possibly more than once: a path, or its bytes."""

    content: Path | bytes
    name: str | None

    @classmethod
    def of(cls, image: str | Path | bytes | BinaryIO) -> Upload:
        """The upload of an image; a file that is open is read now."""
        if isinstance(image, bytes):
            return cls(image, None)
        if isinstance(image, (str, Path)):
            return cls(Path(image), Path(image).name)
        name = getattr(image, "name", None)  # a number, for files of the system
        return cls(image.read(), Path(name).name if isinstance(name, str) else None)

    @property
    def headers(self) -> dict[str, str]:
        """What describes it."""
        headers = {"Content-Type": "application/octet-stream"}
        if self.name is not None:
            shown = quote(self.name, safe="", errors="replace")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{shown}"
        return headers

    def open(self) -> contextlib.AbstractContextManager[bytes | BinaryIO]:
        """The body of a request."""
        if isinstance(self.content, bytes):
            return contextlib.nullcontext(self.content)
        return self.content.open("rb")


def check_target(target: str | Path, *, overwrite: bool) -> None:
    """Find out before a request whether its result could be written.

    Raises:
        ImageError: the file exists, or its folder does not.
    """
    if not overwrite and os.path.lexists(target):
        raise ImageError(
            f"{target} exists; pass overwrite=True to replace it or choose another name"
        )
    if not Path(target).parent.is_dir():
        raise ImageError(
            f"{target}: make the folder {Path(target).parent} first; it does not exist"
        )


def format_of(target: str | Path) -> str | None:
    """The option ``format`` for a file; None if its name has no suffix."""
    suffix = Path(target).suffix.lower().removeprefix(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix) or None


def write_result(target: str | Path, chunks: Iterable[bytes]) -> Path:
    """Write a file completely or not at all.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        with atomic_write(target) as temporary, temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise ImageError(f"{target}: {explain(error)}") from error
    return Path(target)
