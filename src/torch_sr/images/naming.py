"""Libvips, and whatever goes wrong with a file: one line that begins with the file's name."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, cast

from torch_sr.errors import ImageError
from torch_sr.files import explain

PathLike: TypeAlias = str | os.PathLike[str]

UNREADABLE = "cannot be decoded ({}); it is damaged, cut short or of a rare kind: fetch it again"
_OF_NAMES = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS)
UNWRITABLE = "cannot be written ({}); make room on the disk, or choose another name"


def libvips() -> Any:
    """The binding of libvips.

    Raises:
        ImageError: it is not installed, or cannot start.
    """
    try:
        import pyvips
    except Exception as error:  # pyvips lacks, or libvips is missing, or cannot start
        raise ImageError(
            f"libvips is not usable ({_reason(error)}); run: pip install 'pyvips[binary]'"
        ) from error
    _log_complaints()
    return pyvips


def forget_complaints() -> None:
    """Clear what libvips has said of other files, which it would add to its next error."""
    with suppress(AttributeError):  # it is not documented that this name stays
        libvips().vips_lib.vips_error_clear()


@functools.cache
def _log_complaints() -> None:
    """Send what GLib prints of lying headers to the log, as pyvips does with libvips' own words."""
    import pyvips

    every_level = 0b1111_1111
    with suppress(AttributeError):  # it is not said that these names stay
        pyvips.glib_lib.g_log_set_handler(
            b"GLib-GObject", every_level, pyvips._log_handler_cb, pyvips.ffi.NULL
        )


def display_name(path: PathLike) -> str:
    r"""A file's name in one line, whatever is in it.

    >>> display_name("two\nlines.png")
    'two\\nlines.png'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def refuse_existing(path: PathLike, *, overwrite: bool) -> None:
    """Raise an :class:`ImageError` if there is a file of this name and it may not be replaced."""
    if not overwrite and os.path.lexists(path):
        raise ImageError(
            f"{display_name(path)} exists; pass overwrite=True to replace it or choose another name"
        )


@contextmanager
def naming(path: PathLike, failed: str = UNREADABLE) -> Iterator[None]:
    """Turn whatever goes wrong inside into an :class:`ImageError` that names the file."""
    shown = display_name(path)
    try:
        yield
    except _OutsideError as outside:
        raise outside.error from outside.error.__cause__
    except ImageError as error:
        raise ImageError(f"{shown}: {error}") from error.__cause__
    except FileNotFoundError as error:
        raise ImageError(f"{shown}: no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{shown}: check its permissions: access was denied") from error
    except (OSError, ValueError, MemoryError, libvips().Error) as error:
        if getattr(error, "errno", None) in _OF_NAMES:
            raise ImageError(f"{shown}: {explain(cast(OSError, error))}") from error
        raise ImageError(f"{shown}: {failed.format(_reason(error))}") from error


class _OutsideError(Exception):
    def __init__(self, error: Exception) -> None:
        self.error = error


@contextmanager
def letting_through() -> Iterator[None]:
    """Within :func:`naming`: errors that are none of this file's, and shall not be told as such."""
    try:
        yield
    except Exception as error:
        raise _OutsideError(error) from error


def _reason(error: Exception) -> str:
    """Pick an error's telling line; libvips piles up many, each as ``domain: message``."""
    text = getattr(error, "strerror", None) or getattr(error, "detail", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    system = [line for line in lines if line.startswith("system error: ")]
    plain = [line for line in lines if "bad seek" not in line]
    line = (system or plain or lines or [type(error).__name__])[0]
    return line.partition(": ")[2] or line
