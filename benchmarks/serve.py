"""What a service costs: load, overhead, memory, and what 50 kills lose.

The server runs in a process of its own on loopback, without the page; the clients are threads here.

    load      requests per second and latency for small images, by the number of clients
    overhead  POST /v1/upscale and a bare Upscaler on the same image, alternating
    memory    resident memory over many requests
    kills     jobs are sent while the server is killed (SIGKILL) and started again, at seeded times

Run with::

    python benchmarks/serve.py load overhead memory kills --json serve.json
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from parts import Part, run_parts, timed

from torch_sr import Upscaler
from torch_sr.images import Image, read_image, write_image

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "dahlia.jpg"
CLIENTS = (1, 8, 64)


def main() -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--model", default="compact-x4")
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--side", type=int, default=64, help="of the small images, in pixels")
    parser.add_argument("--rounds", type=int, default=20, help="of the overhead")
    parser.add_argument("--requests", type=int, default=10_000, help="of the memory")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    run_parts(PARTS, options)


class Server:
    """A server in a process of its own.

    Args:
        folder: for its jobs.
        options: of ``torch-sr serve``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        words = ["-m", "torch_sr", "serve", "--no-page", "--port", "0", "--folder", str(folder)]
        self._command = [sys.executable, *words, *options]
        self._log = folder.with_suffix(".log").open("ab")
        self.port = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._log)
        assert process.stdout is not None
        line = process.stdout.readline().decode()  # API: http://127.0.0.1:PORT/v1/models
        if not line:
            raise RuntimeError(f"the server did not start; see {self._log.name}")
        self.port = int(line.split(":")[3].partition("/")[0])
        return process

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self, chosen: random.Random) -> int:
        """Start it again after a kill; returns how often it was also killed while it started."""
        kills = 0
        while chosen.random() < 0.2:
            with subprocess.Popen(self._command, stdout=self._log, stderr=self._log) as process:
                time.sleep(chosen.uniform(0.2, 1.5))
                process.kill()
            kills += 1
        self.process = self._start()
        return kills

    def stop(self) -> None:
        """Stop it gracefully."""
        self.process.terminate()
        self.process.wait(60)

    @property
    def memory(self) -> float:
        """Resident megabytes."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20


class Client:
    """A connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """The status and the body of a response."""
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def upscale(self, image: bytes) -> tuple[int, bytes]:
        """Send an image."""
        return self.request("POST", "/v1/upscale", image, **{"Content-Type": "image/png"})


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server that is stopped at the end."""
    server = Server(folder / "served", *options)
    try:
        yield server
    finally:
        server.stop()


# --- The parts ------------------------------------------------------------------------------------


def measure_load(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Requests per second and latency, by the number of clients."""
    image = encode(folder, options.side, options.side)
    rows = [measure_bare(options, folder / "image.png")]
    with running(folder, "--model", options.model, "--queue", "64") as server:
        Client(server.port).upscale(image)  # the first request warms up
        for clients in CLIENTS:
            rows.append(load(server.port, image, clients, options.seconds))
    return rows


def measure_bare(options: argparse.Namespace, source: Path) -> dict[str, Any]:
    """One thread with an Upscaler, without a service."""
    upscaler, target = Upscaler(options.model), source.with_name("bare.png")
    latencies: list[float] = []
    end = time.perf_counter() + options.seconds / 2
    while time.perf_counter() < end:
        latencies.append(timed(lambda: upscaler.upscale_file(source, target, overwrite=True)))
    return {"clients": "bare", **describe(latencies, sum(latencies)), "statuses": {}}


def load(port: int, image: bytes, clients: int, seconds: float) -> dict[str, Any]:
    """Send one image again and again by several clients."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    start = time.perf_counter()

    def send() -> None:
        client = Client(port)
        while time.perf_counter() < start + seconds:
            began = time.perf_counter()
            status, _ = client.upscale(image)
            statuses[status] += 1
            if status == 200:
                latencies.append(time.perf_counter() - began)
            else:
                time.sleep(0.1)

    in_threads([send] * clients)
    took = time.perf_counter() - start
    return {"clients": clients, **describe(latencies, took), "statuses": dict(statuses)}


def measure_overhead(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The time of a request, as a multiple of that of a bare upscaler; medians."""
    image = encode(folder, 256, 256)
    source, target = folder / "image.png", folder / "bare.png"
    upscaler = Upscaler(options.model)
    bare, served = [], []
    with running(folder, "--model", options.model) as server:
        client = Client(server.port)
        for _ in range(options.rounds + 1):  # the first round warms up
            bare.append(timed(lambda: upscaler.upscale_file(source, target, overwrite=True)))
            served.append(timed(lambda: client.upscale(image)))
        status, result = client.upscale(image)
    assert status == 200, status
    assert result == target.read_bytes()
    ratios = [one / other for one, other in zip(served[1:], bare[1:], strict=True)]
    return {
        "bare_ms": round(1e3 * statistics.median(bare[1:]), 1),
        "served_ms": round(1e3 * statistics.median(served[1:]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "rounds": options.rounds,
    }


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Resident memory over many requests of 8 clients; images of 16 sizes."""
    images = [encode(folder, 12 + n, 20 + n // 2) for n in range(16)]
    step = max(1, options.requests // 20)
    with running(folder, "--model", options.model) as server:
        samples = [round(server.memory, 1)]
        for _ in range(0, options.requests, step):

            def send(first: int) -> None:
                client = Client(server.port)
                for number in range(first, step, 8):
                    status, _ = client.upscale(images[number % len(images)])
                    assert status == 200, status

            in_threads([lambda first=first: send(first) for first in range(8)])
            samples.append(round(server.memory, 1))
        left = [path.name for path in (folder / "served" / "requests").iterdir()]
    half = samples[len(samples) // 2 :]
    return {
        "requests": options.requests,
        "megabytes": samples,
        "growth_of_second_half": round(half[-1] - half[0], 1),
        "files_left": len(left),
    }


def measure_kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Send jobs while the server is killed; in the end, each accepted one is done, once."""
    chosen = random.Random(options.seed)
    images = [encode(folder, 24 + n, 40) for n in range(8)]
    expected = [digest_of(options.model, folder, image) for image in images]
    server = Server(folder / "served", "--model", options.model, "--queue", "1000")
    accepted: dict[str, str] = {}
    repeats, more_kills = 0, 0
    for kill in range(options.kills + 1):
        last = kill == options.kills
        deadline = time.monotonic() + chosen.uniform(0.02, 1.0)
        number = len(accepted)
        killer = threading.Timer(max(0.0, deadline - time.monotonic()), server.kill)
        if not last:
            killer.start()
        while True:  # until the connection breaks
            key = f"key-{number}"
            try:
                job = submit(server.port, images[number % len(images)], key)
            except (OSError, http.client.HTTPException):
                repeats += 1  # the client does not know whether it was accepted, and repeats it
                break
            if accepted.setdefault(key, job) != job:
                raise AssertionError(f"{key} became two jobs")
            number += 1
            if last and number >= options.kills:
                break
        if not last:
            killer.join()
            more_kills += server.restart(chosen)
    found = Counter(
        wait_for(server.port, job, expected[int(key[4:]) % len(expected)])
        for key, job in accepted.items()
    )
    jobs = sum(1 for _ in (folder / "served" / "jobs").iterdir())
    server.stop()
    return {
        "kills": options.kills,
        "kills_while_it_started": more_kills,
        "accepted": len(accepted),
        "repeated_requests": repeats,
        "jobs_stored": jobs,
        "outcomes": dict(found),
        "lost": sum(count for outcome, count in found.items() if outcome != "equal"),
        "doubled": jobs - len(accepted),
    }


PARTS: dict[str, Part] = {
    "load": measure_load,
    "overhead": measure_overhead,
    "memory": measure_memory,
    "kills": measure_kills,
}


# --- Requests and images --------------------------------------------------------------------------


def submit(port: int, image: bytes, key: str) -> str:
    """Send a job, and return its id when it is accepted."""
    headers = {"Content-Type": "image/png", "Idempotency-Key": key}
    status, body = Client(port).request("POST", "/v1/jobs", image, **headers)
    assert status == 202, body
    return str(json.loads(body)["id"])


def wait_for(port: int, job: str, expected: str) -> str:
    """Wait for a job; ``equal`` if its result is that of one machine."""
    client = Client(port)
    while True:
        status, body = client.request("GET", f"/v1/jobs/{job}")
        if status != 200:
            return f"status {status}"
        state = json.loads(body)["state"]
        if state == "done":
            _, result = client.request("GET", f"/v1/jobs/{job}/result")
            return "equal" if hashlib.sha256(result).hexdigest() == expected else "different"
        if state not in ("queued", "running"):
            return str(state)
        time.sleep(0.05)


def digest_of(model: str, folder: Path, image: bytes) -> str:
    """The hash of the result of the bare upscaler."""
    source, target = folder / "one.png", folder / "one_sr.png"
    source.write_bytes(image)
    Upscaler(model).upscale_file(source, target, overwrite=True)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def encode(folder: Path, height: int, width: int) -> bytes:
    """A PNG of a part of the photograph, repeated where that is too small."""
    photograph = read_image(PHOTOGRAPH).color
    rows, columns = -(-height // photograph.shape[0]), -(-width // photograph.shape[1])
    pixels = np.tile(photograph, (rows, columns, 1))[:height, :width]
    path = folder / "image.png"
    write_image(path, Image.from_array(np.ascontiguousarray(pixels)))
    return path.read_bytes()


def in_threads(functions: list[Callable[[], None]]) -> None:
    """Call functions at the same time, and raise their errors."""
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


def describe(latencies: list[float], seconds: float) -> dict[str, float]:
    """Requests per second, and the latencies that half and 99 % of the requests do not exceed."""
    ordered = sorted(latencies) or [float("nan")]
    return {
        "requests_per_s": round(len(latencies) / seconds, 1),
        "p50_ms": round(1e3 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1e3 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 1),
    }


if __name__ == "__main__":
    main()
