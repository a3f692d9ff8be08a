"""``torch-sr serve``: parse and check the command line, start and stop."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torch_sr.cli.serve.options import ServeOptions
from torch_sr.errors import MissingExtraError
from torch_sr.files import expand_home
from torch_sr.serving.addresses import is_loopback
from torch_sr.serving.settings import SHORTEST_TOKEN

if TYPE_CHECKING:
    from torch_sr.serving.computing import MakeComputers
    from torch_sr.serving.settings import ServiceSettings


def serve(*, options: ServeOptions) -> None:
    """Serve a page and an HTTP API that upscale images.

    The page is at http://127.0.0.1:7860, the API below /v1; docs/guides/serving.md describes both.

    Ctrl-C or SIGTERM stops it; accepted jobs continue at the next start.
    """
    _check_access(options)
    _check_cluster(options)
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(str(error.name), "serve") from error
    from torch_sr.cli.downloads import find_model
    from torch_sr.serving.api.app import make_app
    from torch_sr.serving.server import bind, run_server
    from torch_sr.serving.service import Service

    for name in options.model:
        find_model(name)  # downloads it, with progress
    listening = bind(options.host, options.port)
    on_cluster = options.cluster.address is not None
    service = Service(make_settings(options, on_cluster=on_cluster), _find_computers(options))
    hosts = options.allowed_hosts
    if not hosts and is_loopback(options.host):
        hosts = ("localhost",)
    app = make_app(service, token=options.token, hosts=hosts, page=options.page)
    address = _address(options.host, listening.getsockname()[1])

    def announce() -> None:
        print(f"page: {address}" if options.page else f"API: {address}/v1/models", flush=True)
        print(f"jobs: {service.settings.folder}", file=sys.stderr, flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(address)

    try:
        service.start()
        run_server(
            app,
            service,
            listening,
            grace=options.grace,
            access_log=options.access_log,
            on_start=announce,
        )
    finally:
        service.close()
    if service.is_computing:  # nothing depends on the tile any more, and it may take minutes
        os._exit(0)


def make_settings(options: ServeOptions, *, on_cluster: bool) -> ServiceSettings:
    """How the options set up a service.

    Args:
        options: of the command.
        on_cluster: whether a cluster computes, where a worker has some of the processors.
    """
    from torch_sr.serving.settings import ServiceSettings

    threads = options.threads
    if on_cluster and threads is None:
        threads = max(1, round(options.cluster.worker_cpus))
    return ServiceSettings(
        folder=_default_folder() if options.folder is None else expand_home(options.folder),
        models=options.model,
        devices=tuple(options.device.split(",")),
        precision=options.precision,
        engine=options.engine,
        threads=threads,
        tile_size=options.tile_size,
        limits=options.limits,
    )


def _find_computers(options: ServeOptions) -> MakeComputers:
    """The devices of this machine, or those of a cluster."""
    from torch_sr.serving.computing import use_devices

    if options.cluster.address is None:
        return use_devices
    from torch_sr.serving.cluster.deploy import use_cluster

    return use_cluster(options.cluster)


def _check_access(options: ServeOptions) -> None:
    if options.token is not None and options.no_token:
        raise typer.BadParameter("--token and --no-token: give one of them")
    if options.token is not None and len(options.token) < SHORTEST_TOKEN:
        raise typer.BadParameter(
            f"--token: make it longer: it has {len(options.token)} characters, at least "
            f"{SHORTEST_TOKEN} are needed; "
            "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    if options.token is None and not options.no_token and not is_loopback(options.host):
        raise typer.BadParameter(
            f"--host {options.host}: give a --token, since other machines can reach this address; "
            "--no-token lets everyone use it"
        )


def _check_cluster(options: ServeOptions) -> None:
    if options.cluster.address is not None and "," in options.device:
        raise typer.BadParameter(
            f"--device {options.device}: name one device for each worker of --ray"
        )


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _default_folder() -> Path:
    """Jobs are not a cache: they must survive its cleaning."""
    if named := os.environ.get("TORCH_SR_HOME"):
        return expand_home(named) / "serve"
    from platformdirs import user_data_path

    return user_data_path("torch-sr") / "serve"
