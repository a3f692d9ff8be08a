"""Measure the resident memory of ``torch-sr upscale`` for images of several sizes.

Each image is made, super-resolved by a new process, and deleted. The peak of the resident memory
is what the operating system reports for that process. Run with::

    python benchmarks/memory.py --out docs/images/memory.png
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from torch_sr.images import Header, open_writer

BAR_MB = 1500


def main() -> None:
    """Measure, print a table, and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1.0, 4.0, 16.0])
    parser.add_argument("--formats", nargs="+", default=["png", "tif"])
    parser.add_argument("--model", default="compact-x4")
    parser.add_argument("--aspect", type=float, default=4 / 3, help="width divided by height")
    parser.add_argument("--out", type=Path, help="PNG of the figure")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            for suffix in options.formats:
                row = measure(Path(folder), megapixels, suffix, options.model, options.aspect)
                rows.append(row)
                print(
                    f"{row['input']:>12} -> {row['output']:>12} {suffix:4} "
                    f"{row['megabytes']:6.0f} MB resident  {row['seconds']:7.1f} s",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.out:
        draw(rows, options.out)


def measure(
    folder: Path, megapixels: float, suffix: str, model: str, aspect: float
) -> dict[str, object]:
    """Super-resolve one image in its own process."""
    height = round((megapixels * 1e6 / aspect) ** 0.5)
    width = round(height * aspect)
    source, target = folder / "lr.png", folder / f"sr.{suffix}"
    write_image_file(source, height, width)
    command = [sys.executable, "-m", "torch_sr", "upscale", source, "-o", target, "-m", model]
    command += ["--device", "cpu", "--overwrite"]
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"torch-sr upscale ended with status {status}")
    target.unlink()
    return {
        "input": f"{width}x{height}",
        "output": f"{4 * width}x{4 * height}",
        "format": suffix,
        "megapixels": megapixels,
        "megabytes": usage.ru_maxrss / 1e3,  # Linux counts in kilobytes
        "seconds": seconds,
    }


def write_image_file(path: Path, height: int, width: int) -> None:
    """Something to compress: gradients and some noise, written in bands."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, width)[None, :, None]
    with open_writer(path, Header(height, width, 3, 8, False)) as writer:
        for top in range(0, height, 64):
            rows = min(64, height - top)
            noise = rng.integers(0, 50, (rows, width, 3))
            writer.write((ramp + noise).astype(np.uint8))


def draw(rows: list[dict[str, object]], out: Path) -> None:
    """Memory against the area of the result."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for suffix in dict.fromkeys(row["format"] for row in rows):
        own = [row for row in rows if row["format"] == suffix]
        area = [16 * float(str(row["megapixels"])) for row in own]
        axes.plot(area, [row["megabytes"] for row in own], "o-", label=f"to {suffix}")
    sizes = np.array(sorted({16 * float(str(row["megapixels"])) for row in rows}))
    axes.plot(sizes, sizes * 3, ":", color="gray", label="the result itself, uncompressed")
    axes.axhline(BAR_MB, color="firebrick", linewidth=1, linestyle="--", label=f"bar: {BAR_MB} MB")
    axes.set(
        xscale="log",
        xlabel="result in megapixels",
        ylabel="resident memory in MB",
        ylim=(0, 1.1 * BAR_MB),
        title="torch-sr upscale, compact-x4, CPU",
    )
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
