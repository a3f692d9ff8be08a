"""EXIF in TIFF files, read and written, as Pillow and tifffile see it."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from torch_sr.images import Header, Image, Metadata, open_writer, read_image, write_image
from torch_sr.images.formats.exif import add_resolution, correct_exif, exif_resolution
from torch_sr.images.formats.tiff.exif import append_exif, read_exif

RATIONAL = (28.0, 5.6)


def make_exif():
    """EXIF of a camera: long and short texts, rationals, bytes, another size, a GPS position."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Maker", "A", "2024:05:06 07:08:09"
    exif[0x0112] = 1
    inner = exif.get_ifd(0x8769)
    inner[0x9000] = b"0230"
    inner[0x920A], inner[0x829D] = RATIONAL  # focal length, aperture
    inner[0x8827] = 400  # ISO
    inner[0x9286] = b"ASCII\0\0\0a comment of some length"
    inner[0xA002], inner[0xA003] = 5, 7
    inner[0x927C] = b"maker's own, full of offsets"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (48.0, 12.0, 30.5)
    return exif


def tags_of(path):
    with Pillow.open(path) as image:
        exif = image.getexif()
        return dict(exif), exif.get_ifd(0x8769), exif.get_ifd(0x8825)


def check(path, width, height):
    top, inner, place = tags_of(path)
    assert (top[0x010F], top[0x0110], top[0x0132]) == ("Maker", "A", "2024:05:06 07:08:09")
    assert (float(inner[0x920A]), float(inner[0x829D])) == pytest.approx(RATIONAL)
    assert inner[0x8827] == 400
    assert inner[0x9286].startswith(b"ASCII\0\0\0a comment of some length")
    assert (inner[0xA002], inner[0xA003]) == (width, height)
    assert 0x927C not in inner
    assert (place[1], [float(x) for x in place[2]]) == ("N", [48.0, 12.0, 30.5])


@pytest.fixture
def image(photo):
    return Image(photo(20, 30), metadata=Metadata(exif=make_exif().tobytes()))


def test_through_tiff_and_back(tmp_path, image):
    write_image(tmp_path / "a.tif", image)
    check(tmp_path / "a.tif", 30, 20)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image.color)
    again = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(again.color, image.color)
    write_image(tmp_path / "b.jpg", again)
    check(tmp_path / "b.jpg", 30, 20)
    write_image(tmp_path / "c.tif", again)
    check(tmp_path / "c.tif", 30, 20)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_offset_sizes(tmp_path, image, big, order):
    pages = np.stack([image.color, image.color[::-1]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pages, bigtiff=big, byteorder=order, photometric="rgb")
    assert read_exif(path) is None or b"Maker" not in read_exif(path)
    append_exif(path, image.metadata.exif, 20, 30)
    if not (big and order == ">"):  # which Pillow does not know
        check(path, 30, 20)
    np.testing.assert_array_equal(tifffile.imread(path), pages)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 2
        assert file.pages[0].tags["Make"].value == "Maker"
    block = read_exif(path)
    with Pillow.open(io.BytesIO(jpeg_with(block))) as jpeg:
        assert jpeg.getexif()[0x010F] == "Maker"
        assert float(jpeg.getexif().get_ifd(0x8769)[0x920A]) == 28.0
        assert jpeg.getexif().get_ifd(0x8825)[1] == "N"
    np.testing.assert_array_equal(read_image(path).color, image.color)


def jpeg_with(block):
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(file, "JPEG", exif=block)
    return file.getvalue()


def test_large_results_are_bigtiffs_with_exif(tmp_path, image, monkeypatch):
    header = Header(20, 30, 3, 8, False)
    monkeypatch.setattr("torch_sr.images.writing.encoders._BIG", 1)
    with open_writer(tmp_path / "a.tif", header, Metadata(exif=image.metadata.exif)) as writer:
        writer.write(image.color)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert file.pages[0].tags["Model"].value == "A"
    check(tmp_path / "a.tif", 30, 20)


def test_invalid_exif_changes_nothing(tmp_path, image):
    write_image(tmp_path / "a.tif", Image(image.color))
    before = (tmp_path / "a.tif").read_bytes()
    for block in (b"", b"Exif\0\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff"):
        append_exif(tmp_path / "a.tif", block, 1, 1)
        assert (tmp_path / "a.tif").read_bytes() == before


def test_damaged_blocks_and_files_raise_nothing_and_change_no_pixel(tmp_path, image):
    rng = random.Random(0)
    write_image(tmp_path / "plain.tif", Image(image.color))
    plain = (tmp_path / "plain.tif").read_bytes()
    write_image(tmp_path / "full.tif", image)
    full = (tmp_path / "full.tif").read_bytes()
    for _ in range(400):
        block = bytearray(image.metadata.exif)
        for _ in range(rng.randint(1, 8)):
            block[rng.randrange(6, len(block))] = rng.randrange(256)
        (tmp_path / "a.tif").write_bytes(plain)
        append_exif(tmp_path / "a.tif", bytes(block), 20, 30)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image.color)
        data = bytearray(full)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "b.tif").write_bytes(data)
        read_exif(tmp_path / "b.tif")


def test_blocks_of_any_kind_are_corrected_or_left_unchanged():
    block = b"Exif\0\0" + make_exif().tobytes()[6:]
    with Pillow.open(io.BytesIO(jpeg_with(correct_exif(block, 70, 90_000)))) as image:
        inner = image.getexif().get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (90_000, 70)
        assert inner[0x927C] == b"maker's own, full of offsets"
    stated = add_resolution(block, 300, 72.5)
    assert exif_resolution(block) is None
    assert exif_resolution(stated) == pytest.approx((300, 72.5))
    with Pillow.open(io.BytesIO(jpeg_with(stated))) as image:
        assert (image.getexif()[0x011A], image.getexif()[0x010F]) == (300, "Maker")
    assert exif_resolution(add_resolution(None, 10, 20)) == (10, 20)
    rng = random.Random(2)
    for _ in range(2000):
        damaged = bytearray(block[: rng.randint(0, len(block))])
        for _ in range(rng.randint(0, 8)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 255, rng.randrange(256)])
        correct_exif(bytes(damaged), 3, 4)
        add_resolution(bytes(damaged), 72, 72)
        exif_resolution(bytes(damaged))
