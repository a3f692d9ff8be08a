"""How long a cold start takes: upscale a 62x90 image, compared with importing PyTorch.

Each round runs every program once in a new process, so a busy machine slows all of them alike. CPU
time (user and system) is the steadier number; wall time is what a user waits. Run with::

    python benchmarks/startup.py --rounds 9
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from torch_sr.images import Image, write_image

_PYTHON = 'import torch_sr; torch_sr.Upscaler("compact-x4").upscale({!r})'


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
        programs = {
            "import torch": ["-c", "import torch"],
            "torch-sr upscale": ["-m", "torch_sr", "upscale", str(image), "--overwrite"],
            'Upscaler("compact-x4")': ["-c", _PYTHON.format(str(image))],
            "torch-sr --help": ["-m", "torch_sr", "--help"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(rounds + 1):  # the first one reads the files from the disk
            for name, arguments in programs.items():
                times[name].append(run(arguments))
    print(f"{'program':24} {'CPU s':>6} {'ratio':>6} {'wall s':>7} {'ratio':>6}")
    base = medians(times["import torch"])
    for name, measured in times.items():
        cpu, wall = medians(measured)
        print(f"{name:24} {cpu:6.2f} {cpu / base[0]:6.2f} {wall:7.2f} {wall / base[1]:6.2f}")


def run(arguments: list[str]) -> tuple[float, float]:
    """CPU and wall time of a Python process, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def medians(measured: list[tuple[float, float]]) -> tuple[float, float]:
    """The medians of CPU and wall time without the first round."""
    cpu, wall = zip(*measured[1:], strict=True)
    return statistics.median(cpu), statistics.median(wall)


if __name__ == "__main__":
    main()
