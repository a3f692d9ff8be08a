"""What a cluster costs, how it scales, and what 50 kills lose. All of its machines are this one.

    overhead  images per second of one worker and of the bare loop, alternating
    scaling   1 to 16 workers, in which the engine sleeps for the measured time of a tile
    ceiling   images and tasks per second if computing took no time
    memory    resident memory of the driver, the ledger and the listing for ten million names
    kills     machines and workers are killed (SIGKILL) at seeded times

Run with::

    python benchmarks/cluster.py overhead scaling ceiling --json cluster.json --plot scaling.png
    python benchmarks/cluster.py memory kills --json kills.json
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from parts import Part, run_parts, timed
from ray.cluster_utils import Cluster

from torch_sr import Upscaler
from torch_sr.cluster.listing import Item, Listing
from torch_sr.cluster.run import upscale_on_ray
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.cluster.workers import WorkerSettings
from torch_sr.images import Image, read_image, write_image
from torch_sr.inference.files.batch import upscale_files
from torch_sr.inference.files.jobs import find_jobs
from torch_sr.inference.files.options import BatchOptions

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "dahlia.jpg"
WORKERS = (1, 2, 4, 8, 16)


def main() -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--model", default="compact-x4")
    parser.add_argument("--side", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="of the overhead")
    parser.add_argument("--images", type=int, default=60, help="in a round, or for a worker")
    parser.add_argument("--names", type=int, default=10_000_000, help="of the memory")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--plot", type=Path, help="draw the scaling")
    options = parser.parse_args()
    results = run_parts(PARTS, options)
    if options.plot is not None:
        plot(results["scaling"], options.plot)


# --- Overhead -------------------------------------------------------------------------------------


def measure_overhead(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds per image of one worker, divided by those of the bare loop."""
    make_images(folder / "in", options.images, options.side)
    upscaler = Upscaler(options.model, device="cpu", threads=1)
    bare, cluster = [], []
    with local_cluster(cpus=1):
        for number in range(options.rounds):
            jobs = find_jobs([str(folder / "in")], folder / f"bare{number}").jobs
            start = time.perf_counter()
            assert all(each.status == "done" for each in upscale_files([upscaler], jobs))
            bare.append(len(jobs) / (time.perf_counter() - start))
            run = run_on_ray(folder / "in", folder / f"ray{number}", options.model, workers=1)
            cluster.append(run.images_per_second)
    ratios = [one / other for one, other in zip(bare, cluster, strict=True)]
    return {
        "images_per_s_bare": round(statistics.median(bare), 3),
        "images_per_s_one_worker": round(statistics.median(cluster), 3),
        "overhead": round(statistics.median(ratios) - 1, 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
    }


# --- Scaling --------------------------------------------------------------------------------------


def measure_scaling(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Images per second of 1 to 16 workers whose engine sleeps, relative to those of the engine."""
    make_images(folder / "in", options.images * max(WORKERS), side=16)
    seconds = seconds_per_tile(options.model, options.side)
    runs = {}
    for workers in WORKERS:
        names = sorted((folder / "in").iterdir())[: options.images * workers]
        items = [Item(str(name), str(folder / f"{workers}" / name.name)) for name in names]
        with local_cluster(cpus=workers):
            sleeping = partial(Sleeping, seconds)
            runs[workers] = collect(items, options.model, workers, wrap_engine=sleeping)
    speeds = {workers: run.images_per_second_together for workers, run in runs.items()}
    return {
        "seconds_per_tile": round(seconds, 4),
        "images_per_s": {n: round(speed, 3) for n, speed in speeds.items()},
        "efficiency": {n: round(speed * seconds / n, 4) for n, speed in speeds.items()},
        "images_per_s_with_start_and_end": {
            n: round(run.images_per_second, 3) for n, run in runs.items()
        },
    }


class Sleeping:
    """An engine that takes as long as another one, and needs no processor.

    Args:
        seconds: for each tile.
        engine: whose results have the right size.
    """

    def __init__(self, seconds: float, engine: Any) -> None:
        self._engine = engine
        self._seconds = seconds
        self._lock = threading.Lock()  # a device computes one tile after another

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __call__(self, lr: Any) -> Any:
        with self._lock:
            time.sleep(self._seconds)
        return np.repeat(np.repeat(lr, self.scale_factor, axis=1), self.scale_factor, axis=2)


def seconds_per_tile(model: str, side: int) -> float:
    """The median time to compute an image of one tile on a core of this machine."""
    upscaler = Upscaler(model, device="cpu", threads=1)
    lr = np.zeros((side, side, 3), np.uint8)
    return statistics.median(
        timed(lambda: upscaler.upscale(Image.from_array(lr))) for _ in range(9)
    )


# --- Ceiling and memory ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """Items that need no work: what is left is the cost of passing them on."""

    count: int

    def __iter__(self) -> Iterator[Item]:
        for number in range(self.count):
            name = f"s3://bucket/folder/{number // 1000:08}/image{number % 1000:04}"
            yield Item(f"{name}.jpg", f"{name}_sr.jpg", 100_000, "needs no work")


def measure_ceiling(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Images per second for tasks of one and of many images."""
    results = {}
    for images, count in ((1, 4_000), (64, 100_000)):
        with local_cluster(cpus=2):
            run = collect(Refused(count), options.model, 2, images=images)
        results[images] = {
            "images_per_s": round(run.images_per_second),
            "tasks_per_s": round(run.images_per_second / images),
        }
    return {"by_images_per_task": results}


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Megabytes of the driver and the largest other process of its own, while names pass."""
    seen, series = 0, []
    with local_cluster(cpus=2):
        settings = worker_settings(options.model)
        cluster = ClusterSettings("local", (2, 2), images_per_task=256)
        for _ in upscale_on_ray(Refused(options.names), settings, cluster):
            seen += 1
            if seen % (options.names // 20) == 0:
                series.append({"names": seen, **resident()})
                print(series[-1], flush=True)
    return {"names": options.names, "series": series}


def resident() -> dict[str, float]:
    """Megabytes of the driver, and of the actors and tasks by what they do."""
    me = psutil.Process()
    sizes: Counter[str] = Counter(driver=me.memory_info().rss)
    for process in me.children(recursive=True):
        name = process.name()
        if name.startswith("ray::"):
            sizes[name] = max(sizes[name], process.memory_info().rss)
    return {name: round(size / 1e6, 1) for name, size in sorted(sizes.items())}


# --- Kills ----------------------------------------------------------------------------------------


def measure_kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What is lost or differs when machines and workers are killed at seeded times."""
    chosen = random.Random(options.seed)
    make_images(folder / "in", 12 * options.kills, options.side)
    expected = digests_of_one_machine(options.model, folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False)
    rows: list[dict[str, Any]] = []
    errors: list[BaseException] = []
    thread = threading.Thread(target=partial(run_kept, rows, errors, folder, options.model))
    thread.start()
    kills: Counter[str] = Counter()
    start = time.monotonic()
    for number in range(options.kills):
        due = (number + chosen.uniform(0.2, 0.8)) * len(expected) / options.kills
        while len(rows) < due and thread.is_alive():
            time.sleep(chosen.uniform(0.01, 0.05))
        if not thread.is_alive():
            break
        if chosen.random() < 0.3:  # Cluster works in the main thread only
            cluster.remove_node(nodes.pop(chosen.randrange(len(nodes))), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            kills["machines"] += 1
        else:
            kills["workers"] += kill_worker(chosen)
        print(f"{sum(kills.values())} kills, {len(rows)} of {len(expected)} images", flush=True)
    thread.join()
    ray.shutdown()
    cluster.shutdown()
    if errors:
        raise errors[0]
    return {
        "kills": dict(kills),
        "seconds": round(time.monotonic() - start, 1),
        **compare(rows, expected, folder / "out"),
    }


def run_kept(
    rows: list[dict[str, Any]], errors: list[BaseException], folder: Path, model: str
) -> None:
    """Append the outcomes of a run to a list, as they arrive."""
    items = Listing([(folder / "in").as_uri()], (folder / "out").as_uri())
    settings = ClusterSettings("auto", (3, 3), images_per_task=4)
    try:
        rows.extend(upscale_on_ray(items, worker_settings(model), settings))
    except BaseException as error:
        errors.append(error)


def kill_worker(chosen: random.Random) -> int:
    """Kill one of the processes that compute; returns how many were killed."""
    workers = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"].startswith("ray::Map") and is_mine(process)
    ]
    if not workers:
        return 0
    chosen.choice(sorted(workers, key=lambda process: process.pid)).kill()
    return 1


def is_mine(process: psutil.Process) -> bool:
    """Whether this process has started it, perhaps through others."""
    return os.getpid() in [each.pid for each in process.parents()]


def digests_of_one_machine(model: str, folder: Path) -> dict[str, str]:
    """The hashes of the results of the command for one machine, by name."""
    upscaler = Upscaler(model, device="cpu")
    jobs = find_jobs([str(folder / "in")], folder / "one").jobs
    assert all(outcome.status == "done" for outcome in upscale_files([upscaler], jobs))
    return {job.target.name: digest(job.target) for job in jobs}


def compare(rows: list[dict[str, Any]], expected: dict[str, str], out: Path) -> dict[str, Any]:
    """What a run has got wrong."""
    found = {path.name: digest(path) for path in out.iterdir()}
    reported = Counter(Path(row["target"]).name for row in rows)
    return {
        "images": len(expected),
        "statuses": dict(Counter(row["status"] for row in rows)),
        "missing": len(expected.keys() - found.keys()),
        "different": sum(found[name] != expected[name] for name in found.keys() & expected.keys()),
        "other_files": len(found.keys() - expected.keys()),
        "reported_twice": sum(count > 1 for count in reported.values()),
        "not_reported": len(expected.keys() - reported.keys()),
    }


# --- Runs and images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        rows: the outcomes.
    """

    rows: list[dict[str, Any]]

    @property
    def images_per_second(self) -> float:
        """From the start of the first image to the end of the last one."""
        start = min(row["ended"] - row["seconds"] for row in self.rows)
        return len(self.rows) / (max(row["ended"] for row in self.rows) - start)

    @property
    def images_per_second_together(self) -> float:
        """While all workers were at work: after the last has begun, until the first has ended."""
        begins: dict[str, float] = {}
        ends: dict[str, float] = {}
        for row in self.rows:
            name, end = row["worker"], row["ended"]
            begins[name] = min(begins.get(name, end), end - row["seconds"])
            ends[name] = max(ends.get(name, end), end)
        first, last = max(begins.values()), min(ends.values())
        return sum(first < row["ended"] <= last for row in self.rows) / (last - first)


def run_on_ray(source: Path, target: Path, model: str, workers: int) -> Run:
    """Process a folder."""
    return collect(Listing([source.as_uri()], target.as_uri()), model, workers)


def collect(items: Any, model: str, workers: int, *, images: int = 64, **upscaler: Any) -> Run:
    """Process items, and measure."""
    settings = ClusterSettings("local", (workers, workers), images_per_task=images)
    return Run(list(upscale_on_ray(items, worker_settings(model, **upscaler), settings)))


def worker_settings(model: str, **upscaler: Any) -> WorkerSettings:
    """Workers of one core."""
    upscaler = {"model": model, "device": "cpu", "threads": 1, **upscaler}
    return WorkerSettings(upscaler, BatchOptions(existing="overwrite"))


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """A cluster of one machine with so many processors, which need not exist."""
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},  # as the bare loop has
    )
    try:
        yield
    finally:
        ray.shutdown()


def make_images(folder: Path, count: int, side: int) -> None:
    """Write different parts of a photograph."""
    folder.mkdir()
    photograph = read_image(PHOTOGRAPH).color
    chosen = random.Random(0)
    for number in range(count):
        row = chosen.randrange(photograph.shape[0] - side)
        column = chosen.randrange(photograph.shape[1] - side)
        pixels = np.ascontiguousarray(photograph[row : row + side, column : column + side])
        write_image(folder / f"{number:05}.png", Image.from_array(pixels))


def digest(path: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plot(scaling: dict[str, Any], path: Path) -> None:
    """Draw images per second over the number of workers."""
    import matplotlib.pyplot as plt

    speeds = {int(n): speed for n, speed in scaling["images_per_s"].items()}
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    linear = [n / scaling["seconds_per_tile"] for n in speeds]
    axes.plot(list(speeds), linear, "--", color="gray", label="the engine alone")
    axes.plot(list(speeds), list(speeds.values()), "o-", label="on the cluster (the engine sleeps)")
    for n, speed in speeds.items():
        share = f"{speed * scaling['seconds_per_tile'] / n:.0%}"
        axes.annotate(share, (n, speed), (7, -9), textcoords="offset points")
    axes.set(xlim=(0, 17.5), ylim=(0, None))
    axes.set(xlabel="workers", ylabel="images per second", xticks=list(speeds))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


PARTS: dict[str, Part] = {
    "overhead": measure_overhead,
    "scaling": measure_scaling,
    "ceiling": measure_ceiling,
    "memory": measure_memory,
    "kills": measure_kills,
}


if __name__ == "__main__":
    main()
