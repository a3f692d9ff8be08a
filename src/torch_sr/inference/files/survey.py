"""Check the sources of a batch before the work starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import Header, check_format, holds_pages, read_header, visible_compression
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions


def survey(
    jobs: Sequence[Job], scale_factor: int, options: BatchOptions | None = None
) -> Iterator[Job]:
    """Read the headers: count the pixels, and refuse sizes that no result could hold.

    Unreadable files are passed on; the error is reported when they are processed.
    """
    options = options or BatchOptions()
    for job in jobs:
        try:
            header = _header_of(job)
        except TorchSRError:
            yield job
            continue
        size = (header.height * scale_factor, header.width * scale_factor)
        if options.size is not None:
            size = options.size(header.height, header.width)
        try:
            if job.is_video:
                _check_video(job, options)
            else:
                check_format(job.target, *size, file_format=options.write.file_format)
        except ImageError as error:
            job = replace(job, refusal=job.refusal or str(error))
        yield replace(job, pixels=header.num_pixels)


def _header_of(job: Job) -> Header:
    if not job.is_video:
        return read_header(job.source, pages=holds_pages(job.target))
    from torch_sr.inference.video.upscaling import read_video_info

    info = read_video_info(job.source)
    return Header(info.height, info.width, 3, 8, False, pages=info.frames or 1)


def _check_video(job: Job, options: BatchOptions) -> None:
    from torch_sr.inference.video.upscaling import check_target

    check_target(job.target, options.codec)


def find_compressed(
    jobs: Sequence[Job], options: BatchOptions | None = None
) -> list[tuple[Job, str]]:
    """The images to process that are visibly compressed, and how, as ``JPEG of quality 60``."""
    skip = options is not None and options.existing == "skip"
    found = (
        (job, visible_compression(job.source))
        for job in jobs
        if not (job.is_video or job.refusal or (skip and os.path.lexists(job.target)))
    )
    return [(job, compression) for job, compression in found if compression]
