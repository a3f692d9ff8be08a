"""A thousand damaged files of every format: each is read, or refused in one line.

They are read in other processes, so that a crash or a hang of a decoder is seen and reported with
the seed and the number that reproduce the file. ``TORCH_SR_FUZZ=100000 pytest tests/test_fuzz.py``
tries more of them.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow

from torch_sr.errors import ImageError
from torch_sr.images import ImageReader, read_header

resource = pytest.importorskip("resource", reason="limits memory, which Windows has no call for")
COUNT = int(os.environ.get("TORCH_SR_FUZZ", "1000"))
BATCH = 1000
MAX_PIXELS = 4_000_000
MAX_RESIDENT = 700e6


def seeds():
    """A small file of every kind that is read, by its suffix."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rgb[4:12] = rgb[4]
    gray, deep = rgb[..., 0], rgb.astype(np.uint16) * 257
    image = Pillow.fromarray(rgb)

    def pillow(image, kind, **options):
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    def tiff(array, **options):
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        return file.getvalue()

    vips = pyvips.Image.new_from_array
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    frames = [image, image.rotate(90)]
    yield from (
        pillow(image, "PNG"),
        pillow(image.quantize(8), "PNG", transparency=1),
        pillow(image.convert("LA"), "PNG"),
        vips(deep).pngsave_buffer(interlace=True),
        pillow(image, "JPEG", exif=exif, icc_profile=b"\0" * 200),
        pillow(image, "JPEG", progressive=True),
        pillow(Pillow.fromarray(gray), "JPEG"),
        pillow(image.convert("CMYK"), "JPEG"),
        pillow(image, "WEBP"),
        pillow(image.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        tiff(rgb),
        tiff(deep, compression="zlib"),
        tiff(rgb.astype(np.float32), bigtiff=True, photometric="rgb"),
        tiff(np.stack([gray, gray]), photometric="minisblack"),
        tiff(np.tile(gray, (2, 2)), tile=(16, 16)),
        pillow(image, "TIFF", compression="tiff_lzw"),
        vips(rgb).heifsave_buffer(compression="av1", effort=0),
        pillow(image, "GIF"),
        pillow(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        pillow(image, "BMP"),
        pillow(Pillow.fromarray(gray), "BMP"),
        pillow(image, "PPM"),
        b"P2\n4 2\n255\n" + b"12 3 4 5 6 7 8 9\n",
        b"P7\nWIDTH 4\nHEIGHT 2\nDEPTH 2\nMAXVAL 999\nENDHDR\n" + bytes(range(32)),
        b"PF\n4 2\n-1.0\n" + rng.random(24, np.float32).tobytes(),
        tiff(rgb.astype(np.float64), photometric="rgb"),
        tiff(rgb, photometric="cielab"),
        tiff(rgb.astype(np.int16) * 99, photometric="rgb", tile=(16, 16)),
        *(pillow(image, kind) for kind in ("ICO", "ICNS", "TGA", "PCX", "JPEG2000", "DDS")),
        *(pillow(image, kind) for kind in ("QOI", "SGI", "DIB", "MPO")),
        pillow(image.quantize(8), "TGA", compression="tga_rle"),
        pillow(image.convert("RGBA"), "DDS", pixel_format="DXT5"),
        pillow(image.convert("1"), "XBM"),
        pillow(image.convert("1"), "MSP"),
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + bytes(14 + 768),
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5"/></svg>',
    )


def mutate(data, rng, others):
    """One of many ways in which files go wrong."""
    data = bytearray(data)
    place = int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    way = rng.integers(10)
    if way < 3:
        for _ in range(int(rng.integers(1, 8))):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif way == 3:
        data[place : place + length] = bytes([rng.choice([0, 255])]) * length
    elif way == 4:
        del data[place:]
    elif way == 5:
        del data[place : place + length]
    elif way == 6:
        data[place:place] = rng.bytes(length)
    elif way == 7:
        data[place:place] = data[place : place + length] * int(rng.integers(1, 9))
    elif way == 8:  # a header that lies
        at = int(rng.integers(0, max(1, min(len(data), 80) - 4)))
        value = int(rng.choice([0, 1, 65535, 2**31 - 1, 2**32 - 1, 10**6, 300]))
        data[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), value)
    else:
        other = others[int(rng.integers(len(others)))]
        data[place:] = other[int(rng.integers(len(other))) :]
    if data[:4] == b"\x89PNG" and rng.integers(2):
        mend_checksums(data)
    return bytes(data)


def mend_checksums(data):
    """So that a PNG's lies are believed."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


def check(path):
    """Read a file in all ways; nothing but our own one line may come out."""
    readings = (
        lambda: read_header(path, pages=True),
        lambda: read_all(path),
        lambda: read_all(path, damaged="keep"),
    )
    for read in readings:
        try:
            read()
        except ImageError as error:
            text = str(error)
            assert text.startswith(str(path)), text
            assert "\n" not in text, text


def read_all(path, **options):
    with ImageReader(path, MAX_PIXELS, pages=True, **options) as reader:
        left = min(sum(header.height for header in reader.page_headers), 10_000)
        while left > 0:
            left -= len(reader.read(min(left, 64)))


def main(folder, seed, start, stop):
    """Try the files of these numbers; say which one, should it be the last."""
    files = list(seeds())
    logging.disable()  # libvips' words, which the commands do not show either
    limit = 3 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(start, stop):
        rng = np.random.default_rng([seed, number])
        path = Path(folder, f"{number}")
        path.write_bytes(mutate(files[number % len(files)], rng, files))
        print(number, flush=True)
        check(path)
        path.unlink()
    resident = most_resident()
    assert resident < MAX_RESIDENT, f"{resident / 1e6:.0f} MB resident"


def most_resident():
    """In bytes; getrusage starts from the value of the parent process."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, COUNT, BATCH))
def test_damaged_files_are_read_or_refused(tmp_path, start):
    command = [sys.executable, __file__, tmp_path, "2026", start, min(start + BATCH, COUNT)]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"},
        check=False,
    )
    last = done.stdout.split()[-1:] or ["none"]
    assert done.returncode == 0, f"file {last[0]} of seed 2026: {done.stderr[-3000:]}"
    assert done.stderr == ""


def test_every_seed_is_valid(tmp_path):
    for number, data in enumerate(seeds()):
        (tmp_path / "a").write_bytes(data)
        with ImageReader(tmp_path / "a", pages=True) as reader:
            assert len(reader.read(2)) == 2, number


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
