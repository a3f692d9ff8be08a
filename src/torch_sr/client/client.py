"""What a service can be asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote

from torch_sr.client.files import Upload, check_target, format_of
from torch_sr.client.jobs import RemoteJob
from torch_sr.client.transport import Transport, read, read_json, save_to

if TYPE_CHECKING:
    from httpx import Response

T = TypeVar("T")


class Client:
    """A service that ``torch-sr serve`` runs; several threads may use it.

    The options of a request are those of the HTTP API: ``model``, ``strength``, ``scale``,
    ``width``, ``height``, ``format``, ``quality``, ``lossless``, ``tta``, ``damaged``. Images are
    paths, bytes or files that are open in binary mode.

    Args:
        url: of the service, such as ``http://127.0.0.1:7860``.
        token: that the service requires.
        timeout: seconds to wait for a response; :meth:`upscale` waits until the result is computed.
        retries: how many times a request is repeated if the service is busy, after the time that
            it asks for, or if the connection is lost.

    Raises:
        MissingExtraError: httpx is not installed.
        ServiceError: the address cannot be used.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 600.0, retries: int = 0
    ) -> None:
        self._transport = Transport(url, token, timeout, retries)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def models(self) -> list[dict[str, Any]]:
        """The models that requests may name, the default first; ``name`` is the key of the name.

        Raises:
            ServiceError: the service cannot be reached, or refuses the request.
        """
        found: list[dict[str, Any]] = self._transport.send("GET", "models", read_json)["models"]
        return found

    def upscale(
        self, image: str | Path | bytes | BinaryIO, **options: str | float | bool | None
    ) -> bytes:
        """Super-resolve an image.

        Args:
            image: in any format that torch-sr reads.
            options: of the request; the format is that of ``image`` if none is named.

        Returns:
            The file of the result.

        Raises:
            OSError: the image cannot be read.
            ServiceError: the service cannot be reached, refuses the request, or fails.
        """
        return self._post("upscale", read, image, options)

    def upscale_file(
        self,
        source: str | Path | bytes | BinaryIO,
        target: str | Path,
        *,
        overwrite: bool = False,
        **options: str | float | bool | None,
    ) -> Path:
        """Super-resolve an image into a file, which is written completely or not at all.

        Args:
            source: as for :meth:`upscale`.
            target: its suffix chooses the format.
            overwrite: replace ``target`` if it exists.
            options: of the request.

        Raises:
            ImageError: ``target`` exists or cannot be written; or as :meth:`upscale`.
        """
        check_target(target, overwrite=overwrite)
        options = {"format": format_of(target), **options}
        return self._post("upscale", save_to(target), source, options)

    def submit(
        self, image: str | Path | bytes | BinaryIO, **options: str | float | bool | None
    ) -> RemoteJob:
        """Send an image or a video as a job, which survives a restart of the service.

        Each call has its own key, so that a repetition after a lost connection is not a second
        job.

        Args:
            image, options: as for :meth:`upscale`.

        Raises:
            OSError, ServiceError: as :meth:`upscale`.
        """
        key = {"Idempotency-Key": secrets.token_hex(16)}
        job = self._post("jobs", read_json, image, options, **key)
        return RemoteJob(self, job)

    def job(self, job_id: str) -> RemoteJob:
        """A job that was submitted earlier, possibly by another program.

        Raises:
            ServiceError: there is none, or as :meth:`models`.
        """
        return RemoteJob(
            self, self._transport.send("GET", f"jobs/{quote(job_id, safe='')}", read_json)
        )

    def _post(
        self,
        path: str,
        receive: Callable[[Response], T],
        image: str | Path | bytes | BinaryIO,
        options: dict[str, str | float | bool | None],
        **headers: str,
    ) -> T:
        given = {name: value for name, value in options.items() if value is not None}
        upload = Upload.of(image)
        return self._transport.send(
            "POST", path, receive, upload=upload, params=given, headers=headers
        )
