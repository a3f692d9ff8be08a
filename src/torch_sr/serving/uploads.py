"""Names of uploaded files, and the checks before a task is accepted."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath

from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import IMAGE_SUFFIXES, check_format, holds_pages, read_header
from torch_sr.images.reading.kinds import find_kind
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.kinds import VIDEO_SUFFIXES
from torch_sr.inference.files.options import BatchOptions
from torch_sr.serving.errors import RequestError
from torch_sr.serving.settings import Limits

_LONGEST_STEM = 100
_TEXT = re.compile(rb"[\t\n\r -~\xef\xbb\xbf]*")
_NOT_TEXT = (b"YUV4MPEG", b"RIFF")
_OF_COMMAND, _OF_API = "torch-sr upscale --damaged keep", "the option damaged=keep"
_ITS_RESULT = "its result would have"
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])(\.|$)", re.IGNORECASE)  # on Windows
_SUFFIX_OF = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "TIFF": ".tif",
    "AVIF": ".avif",
    "GIF": ".gif",
}


def clean_name(name: str | None) -> str:
    r"""A file name without folders and without characters that are special anywhere.

    >>> clean_name("../../etc/pass\nwd.png"), clean_name("C:\\photos\\a.JPG"), clean_name("..")
    ('passwd.png', 'a.JPG', 'image')
    >>> clean_name("nul.png")
    '_nul.png'
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"/\\|?*')
    path = PurePosixPath(kept.strip(" ."))
    suffix = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix, re.ASCII) else ""
    stem = path.name.removesuffix(suffix).strip(" .")
    while len(stem.encode(errors="replace")) > _LONGEST_STEM:  # file systems count bytes
        stem = stem[:-1]
    plain = stem.encode(errors="replace").decode() or "image"
    return f"{'_' if _DEVICE.match(plain) else ''}{plain}{suffix}"


def complete_name(name: str, content: Path) -> str:
    """Add the suffix of a file's content to a name that has none, or none of an image."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return name
    try:
        return name + _SUFFIX_OF.get(find_kind(content).name, "")
    except TorchSRError:
        return name


def examine(job: Job, scale_factor: int, options: BatchOptions, limits: Limits) -> Job:
    """Read the header of an upload, and count its pixels.

    Raises:
        RequestError: it cannot be read, or it or its result is too large.
    """
    try:
        count_pixels = _check_video if job.is_video else _check_image
        return replace(job, pixels=count_pixels(job, scale_factor, options, limits))
    except RequestError:
        raise
    except TorchSRError as error:
        raise unreadable(job, str(error)) from error


def unreadable(job: Job, message: str) -> RequestError:
    """The error of a file that cannot be upscaled, in the words of the API.

    Without the path on this machine, and without the options of the command.
    """
    detail = message.replace(f"{job.source.parent}/", "").replace(_OF_COMMAND, _OF_API)
    return RequestError(detail, field="image", value=job.source.name)


def _check_image(job: Job, scale_factor: int, options: BatchOptions, limits: Limits) -> int:
    """Refuse an image that cannot be upscaled; returns its pixels."""
    _refuse_other_files(job)
    header = read_header(job.source, pages=holds_pages(job.target))
    _refuse_above(limits.max_pixels, header.num_pixels, job, "it has")
    size = _result_size(header.height, header.width, scale_factor, options)
    _refuse_above(limits.max_result_pixels, math.prod(size) * header.pages, job, _ITS_RESULT)
    check_format(job.target, *size, file_format=options.write.file_format)
    return header.num_pixels


def _check_video(job: Job, scale_factor: int, options: BatchOptions, limits: Limits) -> int:
    """Refuse a video that cannot be upscaled; returns the pixels of its frames."""
    with job.source.open("rb") as file:
        head = file.read(8)
    if _TEXT.fullmatch(head) and not head.startswith(_NOT_TEXT):
        raise _not_accepted(job, "is a text; playlists, which name other files, are not read")
    from torch_sr.inference.video.upscaling import check_target, read_video_info

    info = read_video_info(job.source)
    _refuse_above(limits.max_pixels, info.height * info.width, job, "each image has")
    size = _result_size(info.height, info.width, scale_factor, options)
    _refuse_above(limits.max_result_pixels, math.prod(size), job, _ITS_RESULT)
    check_target(job.target, options.codec)
    return info.height * info.width * (info.frames or 1)


def _result_size(
    height: int, width: int, scale_factor: int, options: BatchOptions
) -> tuple[int, int]:
    if options.size is None:
        return height * scale_factor, width * scale_factor
    return options.size(height, width)


def _refuse_other_files(job: Job) -> None:
    """Refuse what is not an image, with the status 415."""
    try:
        find_kind(job.source)
    except ImageError as error:
        raise _not_accepted(job, str(error)) from error


def _not_accepted(job: Job, reason: str) -> RequestError:
    return RequestError(
        f"{job.source.name} {reason}",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        field="image",
        value=job.source.name,
    )


def _refuse_above(most: int, pixels: int, job: Job, what: str) -> None:
    if pixels > most:
        smaller = what == _ITS_RESULT
        raise RequestError(
            f"{job.source.name}: {what} {pixels / 1e6:.1f} megapixels, more than the "
            f"{most / 1e6:.1f} that this server accepts",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            field="image",
            value=job.source.name,
            remedy="request a smaller scale, width or height" if smaller else "crop or shrink it",
        )
