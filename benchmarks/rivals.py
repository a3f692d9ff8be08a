"""Compare ``torch-sr upscale`` with the program of Real-ESRGAN, on a CPU, with the same weights.

    python benchmarks/rivals.py --real-esrgan ../Real-ESRGAN --basicsr ../BasicSR --json rivals.json
    python benchmarks/rivals.py kept --real-esrgan ../Real-ESRGAN --basicsr ../BasicSR

- ``speed``: seconds and memory of a process that upscales ``examples/dahlia.jpg``, in turns
- ``seams``: how much results in tiles differ from those of the whole image, in levels of 255
- ``kept``: what is left of color profile, EXIF, resolution, 16 bits, gray and transparency

The two paths are checkouts of https://github.com/xinntao/Real-ESRGAN and
https://github.com/XPixelGroup/BasicSR, which are not changed. They lack modules that their
installation writes, and import one that torchvision removed; this script provides these. The
network is ``realesrgan-x4plus`` (``pip install '.[realesrgan]'``). BasicSR also imports addict,
future, lmdb, scipy, scikit-image and yapf.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
from parts import run_parts
from PIL.ImageCms import ImageCmsProfile, createProfile

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "dahlia.jpg"
MODEL = "realesrgan-x4plus"
SIDE = 24  # of the images of ``kept``
_RUNNER = """
import runpy, sys
from types import ModuleType
from torchvision.transforms import functional
moved = ModuleType("torchvision.transforms.functional_tensor")
moved.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules[moved.__name__] = moved
for name in ("basicsr.version", "realesrgan.version"):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__version__ = sys.modules[name].__gitsha__ = "unknown"
sys.path[:0] = sys.argv[1:3]
sys.argv[:] = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run(NamedTuple):
    """What a process took."""

    seconds: float
    megabytes: float


class Program:
    """A program that upscales an image file to a PNG file."""

    def __init__(self, command: Sequence[str], out: Path, tile_option: str) -> None:
        self._command = [sys.executable, *command]
        self._out = out
        self._tile_option = tile_option

    def upscale(self, image: Path, *, tile: int | None = None) -> tuple[Path, Run]:
        """Upscale a file; return the result and what the process took."""
        for old in self._out.iterdir():
            old.unlink()
        tiling = [] if tile is None else [self._tile_option, str(tile)]
        run = measure([*self._command, str(image), *tiling])
        (result,) = self._out.iterdir()
        return result, run


def measure(command: Sequence[str]) -> Run:
    """Run a program to its end."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(time.perf_counter() - start, usage.ru_maxrss / 1024)


def programs(options: argparse.Namespace, folder: Path) -> dict[str, Program]:
    """Both programs, by name."""
    weights = folder / "RealESRGAN_x4plus.pth"
    if not weights.exists():
        # In a process of its own: Linux counts the memory of this one as that of its children.
        convert = ["models", "convert", MODEL, str(weights), "--layout", "new", "--dtype", "fp32"]
        subprocess.run([sys.executable, "-m", "torch_sr", *convert], check=True)
    ours, theirs = folder / "ours", folder / "theirs"
    for out in (ours, theirs):
        out.mkdir(exist_ok=True)
    upscale = ["-m", "torch_sr", "upscale", "-m", MODEL, "--device", "cpu"]
    script = str(options.real_esrgan / "inference_realesrgan.py")
    rival = ["-c", _RUNNER, str(options.real_esrgan), str(options.basicsr), script, "--fp32"]
    rival += ["--model_path", str(weights), "-n", "RealESRGAN_x4plus", "-o", str(theirs)]
    return {
        "torch-sr": Program([*upscale, "-o", f"{ours}/"], ours, "--tile-size"),
        "Real-ESRGAN": Program([*rival, "-i"], theirs, "--tile"),
    }


def measure_speed(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds and megabytes of a new process, medians over rounds in turns."""
    found: dict[str, list[Run]] = {}
    both = programs(options, folder)
    for round_number in range(options.rounds + 1):
        for name, program in both.items():
            _, run = program.upscale(PHOTO)
            if round_number:  # the first reads files from the disk
                found.setdefault(name, []).append(run)
    ratios = [
        theirs.seconds / ours.seconds
        for ours, theirs in zip(found["torch-sr"], found["Real-ESRGAN"], strict=True)
    ]
    return {
        "image": f"{PHOTO.name}, {'x'.join(map(str, PIL.Image.open(PHOTO).size))} pixels",
        **{name: _medians(runs) for name, runs in found.items()},
        "times as fast": round(statistics.median(ratios), 2),
    }


def _medians(runs: Sequence[Run]) -> dict[str, float]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 2),
        "megabytes": round(statistics.median(run.megabytes for run in runs)),
    }


def measure_seams(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Differences between results in tiles and of the whole image, in levels of 255."""
    image = folder / "photo.png"  # JPEG results would hide small differences
    PIL.Image.open(PHOTO).save(image)
    found: dict[str, Any] = {}
    for name, program in programs(options, folder).items():
        whole, tiled = (_pixels(program.upscale(image, tile=tile)[0]) for tile in (1000, 64))
        difference = np.abs(tiled.astype(int) - whole)
        found[name] = {
            "largest": int(difference.max()),
            "percent above 1 level": round(float((difference > 1).mean() * 100), 3),
        }
    return found


def _pixels(path: Path) -> np.ndarray[Any, Any]:
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def measure_kept(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the results have of what the sources have."""
    both = programs(options, folder)
    found: dict[str, Any] = {}
    for source in make_sources(folder):
        found[source.name] = {"source": describe(source)}
        for name, program in both.items():
            found[source.name][name] = describe(program.upscale(source)[0])
    return found


def make_sources(folder: Path) -> list[Path]:
    """Small images with what photographs, scans and drawings have besides 8-bit RGB pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 8, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(pixels)
    exif = PIL.Image.Exif()
    exif[0x010F] = "Camera"
    exif[0x0112] = 6  # turned by a quarter
    srgb = ImageCmsProfile(createProfile("sRGB")).tobytes()
    image.save(folder / "photo.jpg", exif=exif, icc_profile=srgb, dpi=(300, 300), quality=95)
    gray = PIL.Image.fromarray(pixels[..., 0])
    gray.save(folder / "gray.png")
    deep = PIL.Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    deep.save(folder / "gray16.png")
    with_alpha = np.dstack([pixels, pixels[..., :1]])
    PIL.Image.fromarray(with_alpha).save(folder / "alpha.png", dpi=(300, 300))
    return [folder / name for name in ("photo.jpg", "gray.png", "gray16.png", "alpha.png")]


def describe(path: Path) -> str:
    """Size, mode and metadata of an image file, in words."""
    with PIL.Image.open(path) as image:
        exif: Mapping[int, Any] = image.getexif()
        words = [f"{path.suffix[1:]} {image.width}x{image.height} {image.mode}"]
        words += ["color profile"] if image.info.get("icc_profile") else []
        words += ["camera"] if 0x010F in exif else []
        words += [f"orientation {exif[0x0112]}"] if 0x0112 in exif else []
        words += ["resolution"] if image.info.get("dpi") else []
    return ", ".join(words)


PARTS = {"speed": measure_speed, "seams": measure_seams, "kept": measure_kept}


def main() -> None:
    """Measure the parts that the command line names, by default all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--real-esrgan", type=Path, required=True, help="checkout of Real-ESRGAN")
    parser.add_argument("--basicsr", type=Path, required=True, help="checkout of BasicSR")
    parser.add_argument("--rounds", type=int, default=5, help="of speed")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    run_parts(PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
