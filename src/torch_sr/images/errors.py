"""Errors about a file, as one line that starts with the file's name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch_sr.aliases import PathLike
from torch_sr.errors import ImageError
from torch_sr.files import explain
from torch_sr.images.vips import libvips, reason_of

UNREADABLE = "cannot be decoded ({}); it is damaged, cut short or of a rare kind: download it again"
UNWRITABLE = "cannot be written ({}); make room on the disk, or choose another name"
_ABOUT_THE_NAME = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS)


def display_name(path: PathLike) -> str:
    r"""A file's name as one printable line.

    >>> display_name("two\nlines.png")
    'two\\nlines.png'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def refuse_existing(path: PathLike, *, overwrite: bool) -> None:
    """Raise an :class:`ImageError` if the file exists and may not be replaced."""
    if not overwrite and os.path.lexists(path):
        raise ImageError(
            f"{display_name(path)} exists; pass overwrite=True to replace it or choose another name"
        )


@contextmanager
def naming_file(path: PathLike, failed: str = UNREADABLE) -> Iterator[None]:
    """Turn errors inside the block into an :class:`ImageError` that names the file.

    Args:
        path: the file that the block works on. Do not run a caller's code in the block: it may
            fail for other reasons.
        failed: the message for errors of the system and of libvips; ``{}`` is their reason.
    """
    shown = display_name(path)
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{shown}: {error}") from error.__cause__
    except FileNotFoundError as error:
        raise ImageError(f"{shown}: no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{shown}: check its permissions: access was denied") from error
    except (OSError, ValueError, MemoryError, libvips().Error) as error:
        if getattr(error, "errno", None) in _ABOUT_THE_NAME:
            raise ImageError(f"{shown}: {explain(cast(OSError, error))}") from error
        raise ImageError(f"{shown}: {failed.format(reason_of(error))}") from error
