"""Read a request: the upload, as a form or as the body itself, and the options."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from torch_sr.serving.api.problems import refuse_invalid
from torch_sr.serving.errors import RequestError, explaining_full_disk, too_large
from torch_sr.serving.requests import FORMATS, UpscaleRequest
from torch_sr.serving.service import Service

_FORM = "multipart/form-data"
_NOT_FILES = ("application/json", "application/x-www-form-urlencoded", "text/html")
_MOST_FIELDS = 50


@dataclass(frozen=True)
class Received:
    """A request that has been read completely.

    Args:
        upload: the file; it belongs to the caller.
        name: that the client gave it.
        options: of the upscaling.
    """

    upload: Path
    name: str | None
    options: UpscaleRequest


async def receive(request: Request, service: Service, file_format: str | None = None) -> Received:
    """Read the upload and the options.

    Args:
        request: with a form that has a part ``image``, or with the file as its body.
        service: gives the file for the upload.
        file_format: of the result, if the options name none.

    Raises:
        RequestError: something is missing, unknown, wrong or too large.
    """
    options = _parse_options([], request, file_format)  # before the body is read
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _NOT_FILES:
        raise RequestError(
            f"{kind} is not an image",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            field="Content-Type",
            value=kind,
            remedy="send multipart/form-data with a part named image, or the file as the body",
        )
    most = service.settings.limits.max_upload
    upload = await run_in_threadpool(service.new_upload)
    try:
        if kind != _FORM:
            await _save_body(request, upload, most)
            return Received(upload, _name_in_header(request), options)
        form = await _read_form(request)
        try:
            image = _only_file(form)
            if image.size is not None and image.size > most:
                raise too_large(most)
            texts = [(key, value) for key, value in form.multi_items() if isinstance(value, str)]
            options = _parse_options(texts, request, file_format)
            with explaining_full_disk():
                await run_in_threadpool(_copy, image, upload)
        finally:
            await form.close()
        return Received(upload, image.filename, options)
    except BaseException:
        service.drop_upload(upload)
        raise


def format_from_accept(request: Request) -> str | None:
    """The format that a client prefers; None if it does not matter.

    Raises:
        RequestError: none of the types that the client accepts is written, with the status 406.
    """
    header = ",".join(request.headers.getlist("accept")) or "*/*"
    for media_type in _by_preference(header):
        if media_type in ("*/*", "image/*"):
            return None
        for name, written in FORMATS.items():
            if media_type == written:
                return name
    raise RequestError(
        "no result can be written in these types",
        status=HTTPStatus.NOT_ACCEPTABLE,
        field="Accept",
        value=header,
        remedy=f"accept {', '.join(FORMATS.values())} or */*",
    )


def _by_preference(header: str) -> list[str]:
    """The media types of an ``Accept`` header, the best first, without those of quality 0."""
    found: list[tuple[float, str]] = []
    for part in header.split(","):
        media_type, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                with contextlib.suppress(ValueError):
                    quality = float(value)
        if media_type and quality > 0:
            found.append((-quality, media_type))
    return [media_type for _, media_type in sorted(found, key=lambda pair: pair[0])]


def _parse_options(
    texts: list[tuple[str, str]], request: Request, file_format: str | None
) -> UpscaleRequest:
    """The options of the query and of the texts of a form; empty ones count as left out."""
    values: dict[str, Any] = {}
    for key, value in [*request.query_params.multi_items(), *texts]:
        if value == "":
            continue
        if key in values:
            raise RequestError(
                f"{key} is given twice", field=key, value=value, remedy="give it once"
            )
        values[key] = value
    if file_format is not None:
        values.setdefault("format", file_format)
    try:
        return UpscaleRequest.model_validate(values)
    except ValidationError as error:
        raise refuse_invalid(error) from error


async def _save_body(request: Request, upload: Path, most: int) -> None:
    received = 0
    with explaining_full_disk(), upload.open("wb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most:
                raise too_large(most)
            # The disk is the page cache here; a thread for each chunk would take longer.
            file.write(chunk)
    if not received:
        raise _no_image()


async def _read_form(request: Request) -> FormData:
    try:
        return await request.form(max_files=1, max_fields=_MOST_FIELDS)
    except (HTTPException, UnicodeError) as error:  # a name of a file may be in a strange encoding
        raise RequestError(
            f"the form cannot be read: {getattr(error, 'detail', 'a name in it is not text')}",
            status=HTTPStatus.BAD_REQUEST,
            remedy="send one part named image, as curl -F image=@photo.jpg does",
        ) from error


def _only_file(form: FormData) -> UploadFile:
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != "image":
                raise RequestError(
                    "a file has another name than image", field=key, remedy="name its part image"
                )
            if not value.size:
                raise _no_image()
            return value
    raise _no_image()


def _copy(image: UploadFile, upload: Path) -> None:
    image.file.seek(0)
    with upload.open("wb") as file:
        shutil.copyfileobj(image.file, file, 1 << 20)


def _name_in_header(request: Request) -> str | None:
    """The file name of ``Content-Disposition``, which a body alone does not have."""
    header = Message()
    # Headers are read as Latin-1, but names that are not quoted as RFC 5987 says are UTF-8.
    text = request.headers.get("content-disposition", "").encode("latin-1")
    header["Content-Disposition"] = text.decode(errors="replace")
    try:
        return header.get_filename()
    except (LookupError, ValueError):  # of a strange encoding
        return None


def _no_image() -> RequestError:
    return RequestError(
        "there is no image",
        field="image",
        remedy="send multipart/form-data with a part named image, or the file as the body",
    )
