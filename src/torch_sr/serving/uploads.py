"""Names of uploaded files, and the checks before a task is accepted."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath

from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import IMAGE_SUFFIXES, check_format, holds_pages, read_header
from torch_sr.images.reading.kinds import find_kind
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.kinds import VIDEO_SUFFIXES
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.survey import survey
from torch_sr.serving.errors import RequestError
from torch_sr.serving.settings import Limits

_LONGEST_STEM = 100
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
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"/\\|?*')
    path = PurePosixPath(kept.strip(" ."))
    suffix = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix, re.ASCII) else ""
    stem = path.name.removesuffix(suffix).strip(" .")
    while len(stem.encode(errors="replace")) > _LONGEST_STEM:  # file systems count bytes
        stem = stem[:-1]
    return f"{stem.encode(errors='replace').decode() or 'image'}{suffix}"


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
        if not job.is_video:
            _check_size(job, scale_factor, options, limits)
        (checked,) = survey([job], scale_factor, options)
        if checked.refusal:
            raise ImageError(checked.refusal)
    except TorchSRError as error:
        if isinstance(error, RequestError):
            raise
        raise unreadable(job, str(error)) from error
    return checked


def unreadable(job: Job, message: str) -> RequestError:
    """The error of a file that cannot be upscaled, without the path on this machine."""
    return RequestError(
        message.replace(f"{job.source.parent}/", ""), field="image", value=job.source.name
    )


def _check_size(job: Job, scale_factor: int, options: BatchOptions, limits: Limits) -> None:
    find_kind_of_upload(job)
    header = read_header(job.source, pages=holds_pages(job.target))
    _refuse_above(limits.max_pixels, header.num_pixels, job, "it has", "crop or shrink it")
    size = (header.height * scale_factor, header.width * scale_factor)
    if options.size is not None:
        size = options.size(header.height, header.width)
    pixels = size[0] * size[1] * header.pages
    remedy = "request a smaller scale, width or height"
    _refuse_above(limits.max_result_pixels, pixels, job, "its result would have", remedy)
    check_format(job.target, *size, file_format=options.write.file_format)


def find_kind_of_upload(job: Job) -> None:
    """Refuse what is not an image.

    Raises:
        RequestError: with the status 415.
    """
    try:
        find_kind(job.source)
    except ImageError as error:
        raise RequestError(
            f"{job.source.name} {error}",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            field="image",
            value=job.source.name,
        ) from error


def _refuse_above(most: int, pixels: int, job: Job, what: str, remedy: str) -> None:
    if pixels > most:
        raise RequestError(
            f"{job.source.name}: {what} {pixels / 1e6:.1f} megapixels, more than the "
            f"{most / 1e6:.1f} that this server accepts",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            field="image",
            value=job.source.name,
            remedy=remedy,
        )
