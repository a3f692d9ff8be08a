"""Services with tiny models for tests: gates that hold tasks, uploads, and raw ASGI requests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import threading
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

pytest.importorskip("fastapi", reason="needs the extra serve")

import httpx

from torch_sr.serving import computing
from torch_sr.serving.api.app import make_app
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.service import Service
from torch_sr.serving.settings import Limits, ServiceSettings

_LIMITS = {each.name for each in fields(Limits)}


def make_settings(folder, **changes):
    """Settings on the CPU; the limits are given by their names too."""
    limits = Limits(**{name: changes.pop(name) for name in _LIMITS & set(changes)})
    values = {"devices": ("cpu",), "threads": 1, "tasks_per_device": 2, **changes}
    return ServiceSettings(folder=folder, limits=limits, **values)


@pytest.fixture
def start_service(pair, tmp_path):
    """Start services of the tiny pair, which are stopped at the end of the test."""
    services = []

    def start(folder=None, **changes):
        service = Service(make_settings(folder or tmp_path / "serve", **changes))
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        service.stop(0)
        service.close()


def image_bytes(height=8, width=8, kind="PNG", seed=0, **options):
    """A small image file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def upload(service, content=None):
    """A new upload of a service, by default a small image."""
    path = service.new_upload()
    path.write_bytes(image_bytes() if content is None else content)
    return path


def submit(service, name="a.png", content=None, **options):
    return service.submit(upload(service, content), name, UpscaleRequest(**options))


def submit_job(service, name="a.png", content=None, key=None, **options):
    return service.submit_job(upload(service, content), name, UpscaleRequest(**options), key)


def wait_until(condition, seconds=10.0):
    """Wait until a function returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def wait_for_job(service, job_id, *states):
    """Wait until a job has one of some states, by default until it has finished."""
    wanted = states or ("done", "failed", "cancelled")

    def reached():
        job = service.find_job(job_id)
        return job if job.state in wanted else None

    return wait_until(reached)


def files_in(service):
    """The names of all files and folders of uploads, requests and jobs."""
    root = service.settings.folder
    found = [
        str(Path(folder, name).relative_to(root))
        for kind in ("uploads", "requests", "jobs")
        for folder, folders, files in os.walk(root / kind)  # unlike rglob, while some are deleted
        for name in folders + files
    ]
    return sorted(found)


class Gate:
    """Holds all tasks at their first tile until it is opened.

    Attributes:
        held: how many have arrived.
    """

    def __init__(self, monkeypatch):
        self.held = 0
        self._open = threading.Event()
        compute = computing.write_result

        def process(upscaler, job, options, on_tile, on_note):
            self.held += 1
            while not self._open.wait(0.005):
                on_tile(job, 1, 4)
            return compute(upscaler, job, options, on_tile, on_note)

        monkeypatch.setattr(computing, "write_result", process)

    def open(self):
        self._open.set()

    def wait(self, number=1):
        """Wait until so many tasks are held."""
        wait_until(lambda: self.held >= number)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


class _Transport(httpx.BaseTransport):
    """Sends requests to an ASGI application of this process."""

    def __init__(self, app):
        self._app = app

    def handle_request(self, request):
        answer = call_app(
            self._app,
            request.url.path,
            request.read(),
            method=request.method,
            headers=[(key.decode(), value) for key, value in request.headers.raw],
            query=request.url.query,
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


@pytest.fixture
def connect(start_service):
    """Make clients of the API of a service, by default of a new one."""

    def connect(service=None, *, token=None, hosts=("localhost",), headers=None, **changes):
        service = service or start_service(**changes)
        app = make_app(service, token=token, hosts=hosts, page=False)
        client = httpx.Client(
            transport=_Transport(app), base_url="http://127.0.0.1", headers=headers
        )
        client.service, client.app = service, app
        return client

    return connect


@dataclass
class Answer:
    """What an ASGI application sent."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def call_app(app, path, *parts, method="POST", headers=(), query=b"", timeout=20, ends_early=False):
    """Send a request to an ASGI application, part by part.

    Args:
        app: the application.
        path: of the request.
        parts: of the body; a number is a pause in seconds, None the end of the connection.
        method, headers, query: of the request.
        timeout: seconds after which the test fails.
        ends_early: whether the connection ends before the body is complete.
    """
    answer = Answer()
    given = {key.lower(): value for key, value in [("host", "127.0.0.1"), *headers]}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(key.encode(), _raw(value)) for key, value in given.items()],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 7860),
        "state": {},
    }
    left = list(parts)
    gone_at_end = None in left
    done = None

    async def receive():
        while left and isinstance(left[0], (int, float)):
            await asyncio.sleep(left.pop(0))
        if left and left[0] is not None:
            body = left.pop(0)
            more = any(isinstance(part, bytes) for part in left) or ends_early
            return {"type": "http.request", "body": body, "more_body": more}
        if not gone_at_end:
            await done.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    async def exchange():
        nonlocal done
        done = asyncio.Event()
        try:
            await asyncio.wait_for(app(scope, receive, send), timeout)
        finally:
            done.set()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(exchange())
    return answer


def _raw(value):
    return value if isinstance(value, bytes) else value.encode("latin-1")
