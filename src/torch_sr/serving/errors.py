"""Why a request is refused or has failed, for people and as a problem document (RFC 9457)."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from torch_sr.errors import ServiceError


class RequestError(ServiceError):
    """A request is refused, or its computation failed.

    Args:
        detail, field, value, remedy, retry_after: see :class:`~torch_sr.ServiceError`.
        status: of HTTP.
    """

    status: int

    def __init__(
        self,
        detail: str,
        *,
        status: int = HTTPStatus.UNPROCESSABLE_ENTITY,
        field: str | None = None,
        value: str | float | None = None,
        remedy: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(
            detail,
            status=int(status),
            field=field,
            value=value,
            remedy=remedy,
            retry_after=retry_after,
        )

    @property
    def title(self) -> str:
        """The same for all errors of one status."""
        return HTTPStatus(self.status).phrase

    def to_dict(self) -> dict[str, Any]:
        """The members of a problem document; those that are unknown are left out."""
        members = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "field": self.field,
            "value": self.value,
            "remedy": self.remedy,
        }
        return {name: value for name, value in members.items() if value is not None}

    @classmethod
    def from_dict(cls, members: dict[str, Any]) -> RequestError:
        """The error of a problem document that :meth:`to_dict` made."""
        return cls(
            members["detail"],
            status=members["status"],
            field=members.get("field"),
            value=members.get("value"),
            remedy=members.get("remedy"),
        )


def internal_error() -> RequestError:
    """The error of a bug, which is in the log."""
    return RequestError(
        "an error inside the server",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        remedy="ask its operator to look into the log",
    )


def too_large(most: int) -> RequestError:
    """The error of an upload with more bytes than this."""
    return RequestError(
        f"the upload has more than {most} bytes",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        field="image",
        remedy="send a smaller file",
    )


def no_room(purpose: str, remedy: str = "try again later") -> RequestError:
    """The error of a full disk, or of too many jobs.

    Args:
        purpose: for what there is no room.
        remedy: see :class:`RequestError`.
    """
    return RequestError(
        f"the server has no room {purpose}",
        status=HTTPStatus.INSUFFICIENT_STORAGE,
        remedy=remedy,
        retry_after=600,
    )


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause of an error, or the cause of its cause."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            return True
        if os.strerror(errno.ENOSPC) in str(error):  # libvips has no number
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def explaining_full_disk() -> Iterator[None]:
    """Turn the errors of a full disk into those with the status 507."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if not is_disk_full(error):
            raise
        raise no_room("for this request") from error
