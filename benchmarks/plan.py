"""Measure the constants of ``torch-sr plan`` on this machine, and check it with published speeds.

Photographs are super-resolved by the shipped model; sources and results are written and read in
each format, on one core. The speeds of networks are those of one core, too. Run with::

    python benchmarks/plan.py --photos ../shared/data/photos --json constants.json
    torch-sr plan --constants constants.json --images 1000 --megapixels 2 --device cpu
    python benchmarks/plan.py --published
    python benchmarks/plan.py --listing 200000

``--published`` measures nothing: it prints speeds that others have published, and the part of the
GPU's peak that they are, which is what ``torch-sr plan`` assumes by default. ``--listing`` measures
the memory that pyarrow needs for the names of a folder, which it lists as a whole.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from torch_sr import Upscaler
from torch_sr.cli.doctor.machine import find_processor
from torch_sr.errors import TorchSRError
from torch_sr.images import Image, is_image_name, read_image
from torch_sr.models.loading import load
from torch_sr.planning.constants import Constant, read_constants
from torch_sr.planning.measure import Photo, measure_device, measure_files

MODELS = ("compact-x4", "realesrgan-x4plus", "realesr-general-x4v3")
PHOTO = Path(__file__).resolve().parents[1] / "examples" / "dahlia.jpg"
_SIDE = 512  # the largest of a photograph; larger ones are cut to their middle
RRDB_X4, COMPACT_X2 = 17_926_848, 598_464
"""Multiply-adds for a pixel of the input: of Real-ESRGAN's x4plus, and of SRVGGNetCompact x2 with
16 convolutions of 64 channels."""


@dataclass(frozen=True)
class Published:
    """A speed that others have measured.

    Args:
        device: as ``torch-sr plan`` names it.
        peak: TFLOP/s of the number format that was used.
        network, macs: what was computed, with its multiply-adds for a pixel of the input.
        width, height: of the input.
        rate: images a second.
        source: where it was published.
    """

    device: str
    peak: float
    network: str
    macs: int
    width: int
    height: int
    rate: float
    source: str

    @property
    def utilization(self) -> float:
        """The part of the peak that was used."""
        return 2 * self.macs * self.width * self.height * self.rate / (self.peak * 1e12)


_COMFY = "github.com/yuvraj108c/ComfyUI-Upscaler-Tensorrt, README: TensorRT, fp16, in ComfyUI"
_JANAI = "github.com/the-database/mpv-upscale-2x_animejanai, wiki Benchmarks: TensorRT, fp16"
_MLRT = "github.com/AmusementClub/vs-mlrt, release v15.4: TensorRT, fp16, "
_ADA16 = 330.3  # of an RTX 4090 with sums in fp16, which TensorRT may use
PUBLISHED = (
    Published("l40s", 362.05, "RealESRGAN x4", RRDB_X4, 512, 512, 5, _COMFY),
    Published("l40s", 362.05, "RealESRGAN x4", RRDB_X4, 960, 540, 2, _COMFY),
    Published("l40s", 362.05, "RealESRGAN x4", RRDB_X4, 1280, 1280, 0.7, _COMFY),
    Published("rtx4090", _ADA16, "2x Compact", COMPACT_X2, 1920, 1080, 33.08, _JANAI),
    Published("rtx4090", _ADA16, "Compact", COMPACT_X2, 720, 480, 73.01, f"{_MLRT}1 stream"),
    Published(
        "rtx4090", _ADA16, "Compact", COMPACT_X2, 720, 480, 348.23, f"{_MLRT}3 streams, batches"
    ),
)


def main() -> None:
    """Measure and write JSON, or print what was published."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="a folder; by default one photograph")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL")
    parser.add_argument("--device", default="cpu", help="cpu (one core) or cuda")
    parser.add_argument("--json", type=Path, help="where the constants go")
    parser.add_argument("--published", action="store_true", help="print published speeds")
    parser.add_argument("--listing", type=int, metavar="N", help="list a folder of N names")
    options = parser.parse_args()
    if options.listing:
        print(f"{measure_listing(options.listing):.0f} bytes of memory a name")
        return
    if options.published:
        print(published_table())
        return
    constants = measure(options.photos, options.models, options.device)
    for name, constant in constants.items():
        print(f"{name:32} {constant.value:10.4g} {constant.unit}")
    if options.json:
        table = {name: constant.to_dict() for name, constant in constants.items()}
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def measure(photos: Path | None, models: list[str], device: str) -> dict[str, Constant]:
    """The constants of this machine."""
    processor = find_processor() or platform.machine()
    where = f"benchmarks/plan.py, {'a core of ' if device == 'cpu' else ''}{processor}"
    found: dict[str, Constant] = {}
    for name in models:
        try:
            model = load(name)
        except TorchSRError as error:
            print(f"{name} is left out: {error}")
            continue
        found |= measure_device(model, device, where, name)
    files = [PHOTO] if photos is None else sorted(filter(is_image_name, photos.iterdir()))
    sources = list(_sources(files))
    upscaler = Upscaler("compact-x4", device=device)
    measured = [Photo(image, upscaler.upscale(image)) for image in sources]
    return found | measure_files(measured, f"{where}, {len(measured)} photographs")


def _sources(files: list[Path]) -> Iterator[Image]:
    """The middle of each photograph, in color and 8 bits."""
    for path in files:
        pixels = read_image(path).to_array()
        if pixels.dtype != "uint8" or pixels.shape[2] != 3:
            continue
        top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
        yield Image.from_array(pixels[top : top + _SIDE, left : left + _SIDE])


def published_table() -> str:
    """What was published, and the part of the peak that it is, as Markdown."""
    constants = read_constants()
    lines = [
        "| device | network | input | images/s | of its peak | source |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.device} | {row.network} | {row.width}x{row.height} | {row.rate:g} | "
        f"{row.utilization:.0%} of {row.peak:g} TFLOP/s | {row.source} |"
        for row in PUBLISHED
    ]
    low, high = (constants[name] for name in ("utilization", "utilization.best"))
    lines.append(f"\ntorch-sr plan assumes {low:.0%}, and {high:.0%} at best.")
    return "\n".join(lines)


def measure_listing(number: int) -> float:
    """Bytes of memory for each name while a folder is listed and its names are kept."""
    from pyarrow import fs

    with tempfile.TemporaryDirectory() as folder:
        for name in range(number):
            Path(folder, f"photo_{name:012}.jpg").touch()
        process = psutil.Process()
        before = process.memory_info().rss
        infos = fs.LocalFileSystem().get_file_info(fs.FileSelector(folder))
        names = [(info.base_name, info.size) for info in infos]
        return (process.memory_info().rss - before) / len(names)


if __name__ == "__main__":
    main()
