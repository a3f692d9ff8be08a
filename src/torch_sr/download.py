"""Download files: resumed after an interruption, verified, never partial.

Data that has arrived is in ``<name>.part`` next to the target, and its address and version are in
``<name>.part.json``, so that the next attempt, even in another process, requests only the rest
(RFC 9110, Range and If-Range). The part is renamed to the target once size and hash are right.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from torch_sr.aliases import OpenProgress
from torch_sr.errors import DownloadError
from torch_sr.files import atomic_write, find_digest, flush, require_room

if TYPE_CHECKING:
    from requests import RequestException, Response

_CHUNK = 1 << 16  # what an interruption may lose
_PROGRESS = 1 << 20  # bytes that reset the count of retries
_log = logging.getLogger(__name__)


class _AddressError(Exception):
    """The address does not serve the file; another may."""


class _BrokenError(Exception):
    """The connection was interrupted; the same address may be tried again."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    digest: str | None,
    num_bytes: int | None = None,
    progress: OpenProgress | None = None,
    retries: int = 4,
    wait: float = 2.0,
    timeout: float = 30.0,
    remedy: str | None = None,
) -> Path:
    """Download a file, unless it exists already.

    Args:
        urls: the original address and its mirrors, tried in this order.
        path: the target; its folder is created.
        digest: ``md5:…`` or ``sha256:…`` of the file, or their first digits; None for a file whose
            hash is unknown, which is checked only by its size.
        num_bytes: its size, if known.
        progress: called as bytes arrive.
        retries: how often one address is tried again after an interruption without progress.
        wait: seconds before the first of these; each later one waits twice as long.
        timeout: seconds without data that count as an interruption.
        remedy: another way to get the file, which the error names first.

    Raises:
        DownloadError: no address serves the right file, or it cannot be written.
    """
    from filelock import FileLock

    job = _Job(path, digest, num_bytes, progress, retries, wait, timeout, remedy)
    try:
        if _is_right(path, digest):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        with FileLock(lock):  # another process may be downloading it
            if not _is_right(path, digest):
                job.run(urls)
            lock.unlink(missing_ok=True)  # waiting processes find the complete file
            return path
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be written: {error.strerror or error}; make room, or name another "
            "folder"
        ) from error


def _is_right(path: Path, digest: str | None) -> bool:
    if not path.is_file():
        return False
    if digest is None:
        return True
    algorithm, _, expected = digest.partition(":")
    return find_digest(path, algorithm).startswith(expected)


@dataclass(frozen=True)
class _Job:
    """One download; the arguments are those of :func:`download`."""

    path: Path
    digest: str | None
    num_bytes: int | None
    progress: OpenProgress | None
    retries: int
    wait: float
    timeout: float
    remedy: str | None

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def origin(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    def run(self, urls: Sequence[str]) -> None:
        reasons: dict[str, list[str]] = {}  # and the hosts that gave each
        for url in urls:
            try:
                self._download_from(url)
                self._verify()
            except _AddressError as error:
                reasons.setdefault(str(error), []).append(urlsplit(url).netloc or url)
                _log.info("%s %s", url, error)
                continue
            flush(self.part)
            self.part.replace(self.path)
            self.origin.unlink(missing_ok=True)
            if self.digest is None:
                _log.warning("%s: its hash is unknown, so it was not verified", self.path)
            return
        causes = "; ".join(f"{' and '.join(hosts)}: {why}" for why, hosts in reasons.items())
        digest = f" ({self.digest})" if self.digest else ""
        other = f"{self.remedy}, or " if self.remedy else ""
        raise DownloadError(
            f"{self.path.name} cannot be downloaded: {other}get {urls[0]} by other means and save "
            f"it as {self.path}{digest}, or try again later; {causes}"
        )

    def _download_from(self, url: str) -> None:
        """Request a file from an address until the part is complete."""
        tries, before = 0, self._size()
        while True:
            try:
                return self._request_rest(url)
            except _BrokenError as error:
                gained = self._size() - before
                tries = 0 if gained >= _PROGRESS else tries + 1
                before = self._size()
                if tries > self.retries:
                    raise _AddressError(str(error)) from error
                time.sleep(self.wait * 2 ** max(0, tries - 1))

    def _request_rest(self, url: str) -> None:
        """One request, for what is still missing."""
        import requests

        start, version = self._resume_point(url)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
                at_end = response.status_code == 416  # the server has nothing after our part
                if at_end and self.digest and _is_right(self.part, self.digest):
                    return  # it is complete, but was not renamed yet
                self._check_status(response)
                if response.status_code != 206 or not _starts_at(response, start):
                    start = 0
                self._receive(response, url, start)
        except (
            requests.exceptions.InvalidSchema,  # a redirection to file:
            requests.exceptions.InvalidURL,
            requests.exceptions.TooManyRedirects,
            requests.exceptions.MissingSchema,
        ) as error:
            raise _AddressError(f"redirects to an address that cannot be used: {error}") from error
        except requests.exceptions.RequestException as error:
            if _has_no_host(error):  # asking again in some seconds gives the same answer
                raise _AddressError("host not found (is there a network connection?)") from error
            raise _BrokenError(_cause(error)) from error

    def _check_status(self, response: Response) -> None:
        if response.status_code == 416:  # our part does not match the server's file
            self._discard_part()
            raise _BrokenError("another version of the file")
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise _BrokenError(f"answers {response.status_code} {response.reason}")
        if response.status_code >= 400:
            raise _AddressError(f"answers {response.status_code} {response.reason}")

    def _receive(self, response: Response, url: str, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        if self.num_bytes is not None and total not in (None, self.num_bytes):
            self._discard_part()
            raise _AddressError(f"offers {total} bytes instead of {self.num_bytes}")
        total = total or self.num_bytes
        self._check_room(total, start)
        if start == 0:
            self._record_origin(url, response)
        done = start
        with self.part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                done += len(chunk)
                if total is not None and done > total:
                    file.close()
                    self._discard_part()
                    raise _AddressError(f"sends more than the {total} bytes it promised")
                file.write(chunk)
                if self.progress is not None:
                    self.progress(done, total)
        if total is not None and done < total:
            raise _BrokenError(f"broke off after {done} of {total} bytes")

    def _check_room(self, total: int | None, start: int) -> None:
        try:
            require_room(self.path.parent, (total or 0) - start)
        except OSError as error:
            raise DownloadError(
                f"{self.path}: make room or choose another folder; {error.strerror}"
            ) from error

    def _resume_point(self, url: str) -> tuple[int, str]:
        """Where to resume and in which version; the start if that is not known."""
        try:
            origin = json.loads(self.origin.read_text(encoding="utf-8"))
            same = origin["url"] == url and isinstance(origin["version"], str)
            return (self._size(), origin["version"]) if same and origin["version"] else (0, "")
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _record_origin(self, url: str, response: Response) -> None:
        etag = response.headers.get("ETag", "")
        strong = "" if etag.startswith("W/") else etag  # a weak one does not identify the bytes
        version = strong or response.headers.get("Last-Modified", "")
        with atomic_write(self.origin) as temporary:
            temporary.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def _verify(self) -> None:
        if _is_right(self.part, self.digest):
            return
        assert self.digest is not None
        algorithm, _, expected = self.digest.partition(":")
        found = find_digest(self.part, algorithm)
        self._discard_part()
        raise _AddressError(f"serves a wrong file: its {algorithm} is {found}, not {expected}")

    def _discard_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


def _starts_at(response: Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _has_no_host(error: Exception) -> bool:
    """Whether the host's name could not be resolved, as without a network."""
    return "NameResolutionError" in str(error)


def _cause(error: RequestException) -> str:
    """Why a request failed, in a few words; the libraries' messages have 300 characters."""
    import requests

    kinds = {
        requests.exceptions.ProxyError: "unreachable through the proxy",
        requests.exceptions.SSLError: "no valid certificate",
        requests.exceptions.ConnectTimeout: "no answer in time",
        requests.exceptions.ReadTimeout: "stopped sending",
        requests.exceptions.ChunkedEncodingError: "broke off",
        requests.exceptions.ConnectionError: "connection refused or broken",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), "broke off")
