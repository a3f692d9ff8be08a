"""How a service is set up: folder, models, devices and limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from torch_sr.errors import ConfigError
from torch_sr.options import Option

SHORTEST_TOKEN = 16
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_PANEL = "Limits"


def parse_bytes(text: str) -> int:
    """A number of bytes with an optional unit.

    Raises:
        ConfigError: it is not one.

    >>> parse_bytes("100M"), parse_bytes("1.5 GB"), parse_bytes("4096")
    (100000000, 1500000000, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text, re.IGNORECASE)
    if match is None or (size := int(float(match[1]) * _UNITS[match[2].lower()])) < 1:
        raise ConfigError(f"{text!r} is not a size; write one such as 500K, 100M or 2G")
    return size


@dataclass(frozen=True)
class Limits:
    """What a service accepts and keeps.

    Args:
        max_upload: bytes of one uploaded file.
        max_pixels: of one upload, all pages together.
        max_enlargement: how many times as many pixels a result may have as ``max_pixels``.
        queue: tasks that wait; further ones are refused with the status 429.
        time_limit: seconds for one task from its first row on.
        upload_seconds: how long an upload may take.
        idle_seconds: how long the next part of an upload is waited for.
        keep_hours: how long finished jobs are kept.
        max_storage: bytes of all jobs together; further ones are refused with the status 507.
    """

    max_upload: Annotated[
        int,
        Option("Refuse larger uploads.", panel=_PANEL, metavar="BYTES", parse=parse_bytes),
    ] = 100_000_000
    max_pixels: Annotated[
        int, Option("Refuse images with more pixels, all pages together.", panel=_PANEL, min=1)
    ] = 50_000_000
    queue: Annotated[
        int, Option("Most requests that wait; further ones are refused.", panel=_PANEL, min=1)
    ] = 64
    time_limit: Annotated[
        float, Option("Most seconds that one request is computed.", panel=_PANEL, min=1)
    ] = 3600.0
    keep_hours: Annotated[
        float, Option("Hours to keep finished jobs and their results.", panel=_PANEL, min=0.01)
    ] = 24.0
    max_storage: Annotated[
        int,
        Option(
            "Most bytes of all jobs together.", panel=_PANEL, metavar="BYTES", parse=parse_bytes
        ),
    ] = 20_000_000_000
    max_enlargement: int = 16
    upload_seconds: float = 600.0
    idle_seconds: float = 30.0

    @property
    def max_result_pixels(self) -> int:
        """The most pixels of a result, all pages together."""
        return self.max_pixels * self.max_enlargement


@dataclass(frozen=True)
class ServiceSettings:
    """How a service is set up.

    Args:
        folder: for jobs, results and uploads; one service at a time uses it.
        models: names or files of the models to offer, the first by default; if empty, all that
            are on this machine.
        devices, precision, engine, threads, tile_size: as of :class:`torch_sr.Upscaler`; each
            device computes its own tasks.
        limits: what is accepted and kept.
        loaded_models: how many models a device keeps loaded.
        tasks_per_device: how many tasks are decoded, computed and encoded at once.
    """

    folder: Path
    models: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("auto",)
    precision: str = "auto"
    engine: str = "auto"
    threads: int | None = None
    tile_size: int | None = None
    limits: Limits = field(default_factory=Limits)
    loaded_models: int = 4
    tasks_per_device: int = 4
