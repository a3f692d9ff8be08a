"""What ``torch-sr serve --ray`` costs next to the plain service, and what kills of replicas lose.

Ray runs on this machine, with two replicas of one thread each; the clients are threads here.

    overhead  one client: the plain service with one thread, and one replica, alternating
    load      eight clients: the plain service with two threads, and two replicas
    kills     eight clients, while replicas are killed (SIGKILL) at seeded times, and without kills

Run with::

    python benchmarks/serve_cluster.py overhead load kills --json serve_cluster.json
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from parts import Part, run_parts, timed
from serve import Client, Server, describe, encode, in_threads, load, running

from torch_sr import Upscaler

CLIENTS = 8


def main() -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--model", default="compact-x4")
    parser.add_argument("--rounds", type=int, default=30, help="of the overhead")
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--pause", type=float, default=8, help="most seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    run_parts(PARTS, options)


def measure_overhead(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The time of a request through Ray, as a multiple of that of the plain service; medians."""
    rows = []
    (folder / "plain").mkdir()
    with (
        running(folder / "plain", "--model", options.model, "--threads", "1") as plain,
        running(folder, "--model", options.model, *_on_ray(1)) as cluster,
    ):
        for side in (64, 256):
            image = encode(folder, side, side)
            here, there = Client(plain.port), Client(cluster.port)
            for client in (here, there):
                status, result = client.upscale(image)  # warms up
                assert status == 200, result
            pairs = [
                (timed(lambda: here.upscale(image)), timed(lambda: there.upscale(image)))  # noqa: B023
                for _ in range(options.rounds)
            ]
            rows.append(
                {
                    "side": side,
                    "plain_ms": round(1e3 * statistics.median(one for one, _ in pairs), 1),
                    "ray_ms": round(1e3 * statistics.median(other for _, other in pairs), 1),
                    "ratio": round(statistics.median(other / one for one, other in pairs), 3),
                }
            )
    return rows


def measure_load(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Requests per second and latency of eight clients, with two processors for each service."""
    rows = []
    for name, words in (("plain", ["--threads", "2"]), ("two replicas", _on_ray(2))):
        with running(folder, "--model", options.model, *words) as server:
            for side in (64, 256):
                image = encode(folder, side, side)
                Client(server.port).upscale(image)
                row = load(server.port, image, CLIENTS, options.seconds)
                rows.append({"service": name, "side": side, **row})
    return rows


def measure_kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Each answer is 200 and has the bytes of one machine, while replicas are killed."""
    chosen = random.Random(options.seed)
    images = [encode(folder, 64 + 4 * n, 96) for n in range(CLIENTS)]
    expected = [_bytes_of(options.model, folder, image) for image in images]
    times = [chosen.uniform(0.5, options.pause) for _ in range(options.kills)]
    server = Server(folder / "served", "--model", options.model, *_on_ray(2))
    results = {}
    try:
        for name, pauses in (("without", []), ("with", times)):
            end = threading.Event()
            sending = threading.Thread(
                target=lambda name=name, end=end: results.update(
                    {name: _send_until(end, server.port, images, expected)}
                )
            )
            sending.start()
            for pause in pauses:
                time.sleep(pause)
                _kill_one(server, chosen)
            time.sleep(options.seconds if not pauses else 1)
            end.set()
            sending.join()
        results["computed_again"] = _read_metric(server.port, "torch_sr_repeats_total")
    finally:
        server.stop()
    return {"kills": options.kills, **results}


PARTS: dict[str, Part] = {
    "overhead": measure_overhead,
    "load": measure_load,
    "kills": measure_kills,
}


def _on_ray(workers: int) -> list[str]:
    return ["--ray", "local", "--ray-workers", str(workers), "--ray-cpus", "1"]


def _send_until(
    end: threading.Event, port: int, images: list[bytes], expected: list[bytes]
) -> dict[str, Any]:
    """Send images by several clients until an event; what came back."""
    latencies: list[float] = []
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()

    def send(number: int) -> None:
        client = Client(port)
        while not end.is_set():
            began = time.perf_counter()
            status, body = client.upscale(images[number])
            latencies.append(time.perf_counter() - began)
            equal = status == 200 and body == expected[number]
            outcomes["equal" if equal else f"status {status}"] += 1

    in_threads([lambda number=number: send(number) for number in range(len(images))])
    took = time.perf_counter() - start
    slowest = round(1e3 * max(latencies), 1)
    return {**describe(latencies, took), "slowest_ms": slowest, "answers": dict(outcomes)}


def _kill_one(server: Server, chosen: random.Random) -> None:
    """Kill a replica, after waiting for one if there is none."""
    while True:
        found = [
            process
            for process in psutil.Process(server.process.pid).children(recursive=True)
            if "ServeReplica" in _title(process)
        ]
        if found:
            chosen.choice(sorted(found, key=lambda process: process.pid)).kill()
            return
        time.sleep(0.1)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _read_metric(port: int, name: str) -> float:
    _, body = Client(port).request("GET", "/metrics")
    (line,) = [each for each in body.decode().splitlines() if each.startswith(f"{name} ")]
    return float(line.split()[1])


def _bytes_of(model: str, folder: Path, image: bytes) -> bytes:
    source, target = folder / "one.png", folder / "one_sr.png"
    source.write_bytes(image)
    Upscaler(model).upscale_file(source, target, overwrite=True)
    return target.read_bytes()


if __name__ == "__main__":
    main()
