"""How long a cold start takes, and how much memory: upscale a 62x90 image in a new process.

Each round runs every program once, so a busy machine slows all of them alike; importing PyTorch
alone is the measure. CPU time (user and system) is the steadier number; wall time is what a user
waits; memory is the largest resident set. Run with::

    python benchmarks/startup.py --rounds 9
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torch_sr.images import Image, write_image
from torch_sr.inference.engines.native import is_available

_PYTHON = 'import torch_sr; torch_sr.Upscaler("compact-x4").upscale({!r})'


class Run(NamedTuple):
    """What a process took."""

    cpu: float
    """Seconds."""
    wall: float
    """Seconds."""
    memory: float
    """Megabytes."""


def main() -> None:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often each program runs")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.png")
        noise = np.random.default_rng(0).integers(0, 256, (62, 90, 3), dtype=np.uint8)
        write_image(image, Image.from_array(noise))
        programs = list_programs(str(image))
        found: dict[str, list[Run]] = {name: [] for name in programs}
        for _ in range(rounds + 1):  # the first one reads the files from the disk
            for name, arguments in programs.items():
                found[name].append(run(arguments))
    print(f"{'program':32} {'CPU s':>6} {'ratio':>6} {'wall s':>7} {'ratio':>6} {'MB':>6}")
    base = medians(found["import torch"])
    for name, runs in found.items():
        cpu, wall, memory = medians(runs)
        print(
            f"{name:32} {cpu:6.2f} {cpu / base.cpu:6.2f} {wall:7.2f} {wall / base.wall:6.2f} "
            f"{memory:6.0f}"
        )


def list_programs(image: str) -> dict[str, list[str]]:
    """The arguments of Python, by the name of a program."""
    upscale = ["-m", "torch_sr", "upscale", image, "--overwrite", "--device", "cpu"]
    programs = {
        "import torch": ["-c", "import torch"],
        "torch-sr upscale --engine native": [*upscale, "--engine", "native"],
        "torch-sr upscale --engine torch": [*upscale, "--engine", "torch"],
        'Upscaler("compact-x4")': ["-c", _PYTHON.format(image)],
        "torch-sr --help": ["-m", "torch_sr", "--help"],
    }
    if not is_available():
        del programs["torch-sr upscale --engine native"]
    return programs


def run(arguments: list[str]) -> Run:
    """Run a Python process.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command, start = [sys.executable, *arguments], time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    in_megabyte = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # bytes there, else kilobytes
    return Run(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / in_megabyte)


def medians(runs: Sequence[Run]) -> Run:
    """The medians without the first round."""
    return Run(*map(statistics.median, zip(*runs[1:], strict=True)))


if __name__ == "__main__":
    main()
