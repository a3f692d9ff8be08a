"""How fast engines compute networks, compared with the plain PyTorch graph.

Every engine computes the same image in a process of its own. The processes take turns, so that a
busy machine slows all of them alike: each round runs every engine once. Speeds are medians; the
ratio is the median over the rounds of the baseline's time divided by the engine's. The baseline
``eager`` is the plain graph as BasicSR, spandrel and Real-ESRGAN run it: NCHW, ``no_grad``, fp32.

Effective GFLOP/s count two operations for each multiply-add of direct convolutions, whatever an
engine really computes. Memory is the peak of the process, without tiles. The difference is the
largest one to the baseline, of results clipped to [0, 1]. Run with::

    python benchmarks/inference.py --json inference.json --plot inference.png
    python benchmarks/inference.py --quick
    python benchmarks/inference.py --device cuda --models realesrgan-x4plus

With ``--device cuda``, the baseline is the plain graph in fp32 on the card.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from contenders import BASELINES, CONTENDERS, DEFAULTS, NEEDS_ONNX, Floats
from PIL import Image as Pillow
from PIL import ImageOps

MODELS = ("compact-x4", "realesrgan-x4plus", "realesr-animevideov3", "realesr-general-x4v3")
PHOTO = Path(__file__).resolve().parents[1] / "examples" / "dahlia.jpg"
_SIDE, _PHOTO_SIZE = 128, (512, 384)


@dataclass(frozen=True)
class Row:
    """An engine, a model and a size.

    Args:
        model, engine: their names.
        width, height: of the image.
        seconds: for the image, the median.
        ratio: how many times as fast as the baseline.
        megapixels_per_second: of the result.
        gflops: effective GFLOP/s.
        memory: peak of the process, in bytes.
        difference: the largest one to the baseline.
    """

    model: str
    engine: str
    width: int
    height: int
    seconds: float
    ratio: float
    megapixels_per_second: float
    gflops: float
    memory: int
    difference: float


def main() -> None:
    """Measure, print a table, write JSON and draw."""
    options = _parse()
    rows: list[Row] = []
    print(_HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            for image in options.sizes:
                for row in measure(model, image, options, Path(folder)):
                    rows.append(row)
                    print(_line(row), flush=True)
    if options.json:
        report = {**_hardware(options), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        from inference_plot import draw

        draw([asdict(row) for row in rows], _title(options), options.plot)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="names or files")
    parser.add_argument("--engines", nargs="+", choices=CONTENDERS, help="besides the baseline")
    parser.add_argument(
        "--sizes", nargs="+", metavar="SIZE", help="sides of squares, or photo (512x384 pixels)"
    )
    parser.add_argument("--photo", type=Path, default=PHOTO, help="the photograph")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="of every engine; by default all processors")
    parser.add_argument("--device", choices=BASELINES, default="cpu", help="of the baseline")
    parser.add_argument("--quick", action="store_true", help="one model, one size, two rounds")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--plot", type=Path, help="PNG of a bar chart")
    options = parser.parse_args()
    from torch_sr.machine import usable_cpus

    options.threads = options.threads or usable_cpus()
    if options.quick:
        options.rounds = 2
    names = options.engines or DEFAULTS[options.device]
    options.engines = list(_installed([BASELINES[options.device], *names]))
    options.models = list(_found(options.models or MODELS[: 1 if options.quick else None]))
    sizes = options.sizes or (["64"] if options.quick else ["64", "128", "256", "photo"])
    options.sizes = [_image(size, options.photo) for size in sizes]
    return options


def _installed(engines: Sequence[str]) -> Iterator[str]:
    """The engines that are installed, each once."""
    for name in dict.fromkeys(engines):
        if contenders.is_installed(name):
            yield name
        else:
            print(f"{name} is left out: it is not installed", file=sys.stderr)


def _found(models: Sequence[str]) -> Iterator[str]:
    """The models that are on this machine; nothing is downloaded."""
    from torch_sr.errors import TorchSRError
    from torch_sr.models.zoo import find_file

    for model in models:
        try:
            find_file(model)
        except TorchSRError as error:
            print(f"{model} is left out: {error}", file=sys.stderr)
        else:
            yield model


def _image(size: str, photo: Path) -> Floats:
    """A square cut from the enlarged photograph, or the photograph, ``(1, 3, H, W)``."""
    width, height = _PHOTO_SIZE if size == "photo" else (int(size), int(size))
    with Pillow.open(photo) as opened:
        fitted = ImageOps.fit(opened.convert("RGB"), (width, height))
    unit = np.asarray(fitted, dtype=np.float32) / 255
    return np.ascontiguousarray(unit.transpose(2, 0, 1)[None])


# --- Measuring ----------------------------------------------------------------------------------


class Worker:
    """A process that computes with one engine.

    Raises:
        RuntimeError: it cannot; the message says why.
    """

    def __init__(self, name: str, model: str, threads: int, lr: Floats, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        own, other = context.Pipe()
        self._pipe: Connection = own
        self._process = context.Process(
            target=contenders.work, args=(other, name, model, threads, lr, folder), daemon=True
        )
        self._process.start()
        other.close()
        try:
            first = self._pipe.recv()
        except EOFError:
            first = "the process ended"
        if isinstance(first, str):
            self._process.join()
            raise RuntimeError(first)
        self.result, self.memory = first
        self.seconds: list[float] = []

    def run(self) -> None:
        """Compute once."""
        self._pipe.send(True)
        self.seconds.append(self._pipe.recv())

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join()


def measure(model: str, lr: Floats, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Measure every engine on one image."""
    workers = _start(model, lr, options, folder)
    for number in range(options.rounds):
        names = list(workers)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            workers[name].run()
    for worker in workers.values():
        worker.stop()
    macs = _macs_per_pixel(model)
    base = workers[options.engines[0]]
    for name, worker in workers.items():
        seconds = statistics.median(worker.seconds)
        pairs = zip(base.seconds, worker.seconds, strict=True)
        height, width = lr.shape[2:]
        yield Row(
            model=model,
            engine=name,
            width=width,
            height=height,
            seconds=seconds,
            ratio=statistics.median(ours / theirs for ours, theirs in pairs),
            megapixels_per_second=worker.result[0, 0].size / 1e6 / seconds,
            gflops=2 * macs * height * width / 1e9 / seconds,
            memory=worker.memory,
            difference=float(np.abs(worker.result - base.result).max()),
        )


def _start(model: str, lr: Floats, options: argparse.Namespace, folder: Path) -> dict[str, Worker]:
    """Start one worker after another; those that fail are left out."""
    workers: dict[str, Worker] = {}
    exported = False
    for name in options.engines:
        if name in NEEDS_ONNX and not exported:
            process = multiprocessing.get_context("spawn").Process(
                target=contenders.export, args=(model, lr.shape, folder)
            )
            process.start()
            process.join()
            exported = True
        try:
            workers[name] = Worker(name, model, options.threads, lr, folder)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            if name == options.engines[0]:
                raise SystemExit(1) from error
    return workers


def _macs_per_pixel(model: str) -> float:
    import torch_sr
    from torch_sr.models.inspection import count_macs

    loaded = torch_sr.load(model)
    return float(count_macs(loaded.network, loaded.img_channels))


# --- Results ------------------------------------------------------------------------------------

_HEADER = (
    f"{'model':20} {'size':>8} {'engine':16} {'ms':>8} {'MP/s':>7} {'GFLOP/s':>8} "
    f"{'ratio':>6} {'MB':>6} {'difference':>10}"
)


def _line(row: Row) -> str:
    return (
        f"{row.model:20} {row.width:>4}x{row.height:<3} {row.engine:16} {row.seconds * 1e3:8.1f} "
        f"{row.megapixels_per_second:7.3f} {row.gflops:8.1f} {row.ratio:6.2f} "
        f"{row.memory / 1e6:6.0f} {row.difference:10.1e}"
    )


def _hardware(options: argparse.Namespace) -> dict[str, Any]:
    from torch_sr.cli.doctor.machine import find_processor
    from torch_sr.cli.doctor.packages import find_version

    packages = ("torch", "ncnn", "onnxruntime", "openvino")
    return {
        "command": " ".join(["python", "benchmarks/inference.py", *sys.argv[1:]]),
        "processor": find_processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": options.threads,
        "rounds": options.rounds,
        "versions": {package: find_version(package) for package in packages},
    }


def _title(options: argparse.Namespace) -> str:
    hardware = _hardware(options)
    place = f"{hardware['processor']}, {options.threads} threads"
    if options.device == "cuda":
        import torch

        place = torch.cuda.get_device_name()
    return f"{place}, PyTorch {hardware['versions']['torch']}"


if __name__ == "__main__":
    main()
