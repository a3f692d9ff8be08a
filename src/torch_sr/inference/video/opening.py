"""Open videos with PyAV, choose a stream, name the file in errors.

The one file that imports PyAV.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.images.errors import naming_file

UNREADABLE = "download the file again: it cannot be decoded ({})"
_FULL = "cannot be written ({}); make room on the disk and run the command again: it resumes"

_ATTACHED_PICTURE = 1 << 10  # ffmpeg's dispositions
_TIMED_THUMBNAILS = 1 << 11


def pyav() -> Any:
    """The library PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError:
        needs = "" if sys.version_info >= (3, 11) else " with Python 3.11 or later"
        raise MissingExtraError(f"PyAV 18, which reads videos{needs},", "video") from None
    return av


def video_url(path: Path) -> str:
    """A file's URL for ffmpeg, which would take ``12`` in ``12:30.mp4`` for a protocol."""
    return f"file:{path}"


@contextmanager
def naming_video(path: Path, failed: str = UNREADABLE) -> Iterator[None]:
    """Like :func:`~torch_sr.images.errors.naming_file`, also for errors of ffmpeg.

    A full disk is only reported if the system reports it.
    """
    with naming_file(path, failed):
        try:
            yield
        except MissingExtraError:
            raise
        except Exception as error:
            number = getattr(error, "errno", None)
            if number in (errno.ENOSPC, errno.EDQUOT):
                raise ImageError(_FULL.format(getattr(error, "strerror", error))) from error
            if isinstance(error, pyav().error.FFmpegError) and not isinstance(
                error, FileNotFoundError | PermissionError
            ):
                raise ImageError(failed.format(error.strerror)) from error
            raise


def unwritable(target: Path) -> str:
    """The message for a target that cannot be written, for :func:`naming_video`."""
    other = ".mp4" if target.suffix.lower() == ".mkv" else ".mkv"
    return f"cannot be written ({{}}); choose another container, such as {other}"


def open_video(path: Path) -> Any:
    """Open a container, which the caller closes.

    Raises:
        ImageError: the file is missing or empty.
        av.FFmpegError: ffmpeg does not know the file as video or sound.
    """
    av = pyav()
    if not path.is_file():
        problem = "is not a file" if path.exists() else "no such file"
        raise ImageError(f"{problem}; check the path")
    if path.stat().st_size == 0:
        raise ImageError("is empty (0 bytes); download it again")
    return av.open(video_url(path), metadata_errors="replace")


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still image that belongs to the file, such as a cover."""
    return bool(stream.disposition & (_ATTACHED_PICTURE | _TIMED_THUMBNAILS))


def video_stream(container: Any) -> Any:
    """The stream to super-resolve: the first one that is not a still image and can be decoded.

    Raises:
        ImageError: there is none.
    """
    videos = container.streams.video
    moving = [stream for stream in videos if not is_cover(stream)]
    readable = [stream for stream in moving if stream.codec_context is not None]
    if readable:
        return readable[0]
    if moving:
        raise ImageError("convert it first: the ffmpeg of PyAV has no decoder for it")
    only = " but a cover image" if videos else ""
    raise ImageError(f"contains no video stream{only}; name a video or an image")
