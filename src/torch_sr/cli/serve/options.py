"""The options of ``torch-sr serve``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from torch_sr.cli.options import COMPUTE_DEVICE, ENGINE, PRECISION, THREADS, TILE_SIZE
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.options import Option, split_commas
from torch_sr.serving.settings import Limits

_ACCESS = "Access"


@dataclass(frozen=True)
class ServeOptions:
    """All options, in the order of the help."""

    host: Annotated[
        str, Option("Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1"
    port: Annotated[int, Option("Port to listen on; 0 for any that is free.", min=0, max=65535)] = (
        7860
    )
    model: Annotated[
        tuple[str, ...],
        Option(
            "Models to offer: names or weights files, comma-separated; the first is the default.",
            ("--model", "-m"),
            default="all that are on this machine",
            parse=split_commas,
        ),
    ] = ()
    folder: Annotated[
        Path | None,
        Option("For jobs and their results.", default="serve in the user's data folder"),
    ] = None
    page: Annotated[bool, Option("Serve the page, or the API only.")] = True
    open: Annotated[bool, Option("Open the page in the browser.")] = False
    grace: Annotated[
        float, Option("Seconds that running requests get when the server stops.", min=0)
    ] = 30.0
    access_log: Annotated[bool, Option("Log each request on stderr.")] = False
    token: Annotated[
        str | None,
        Option(
            "That each request must have; at least 16 characters. The variable keeps it out of "
            "the list of processes.",
            panel=_ACCESS,
            env="TORCH_SR_TOKEN",
        ),
    ] = None
    no_token: Annotated[
        bool, Option("Let everyone who reaches the address use the server.", panel=_ACCESS)
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Option(
            "Host names of the server, comma-separated; requests with another one are refused.",
            panel=_ACCESS,
            default="all; on 127.0.0.1, only this machine's",
            parse=split_commas,
        ),
    ] = ()
    limits: Limits = field(default_factory=Limits)
    device: Annotated[
        str,
        replace(
            COMPUTE_DEVICE,
            help=f"{COMPUTE_DEVICE.help[:-1]}; or several, comma-separated, "
            "which share the requests: cuda:0,cuda:1.",
        ),
    ] = "auto"
    precision: Annotated[str, PRECISION] = "auto"
    engine: Annotated[str, ENGINE] = "auto"
    threads: Annotated[int | None, THREADS] = None
    tile_size: Annotated[int | None, replace(TILE_SIZE, default="what fits into memory")] = None
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
