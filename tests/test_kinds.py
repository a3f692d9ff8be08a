"""Kinds of files that are read, against Pillow, and errors that name the others."""

from __future__ import annotations

import gzip
import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from torch_sr.errors import ImageError
from torch_sr.images import ImageReader, is_image_name, read_header, read_image, write_image
from torch_sr.images.reading.kinds import find_kind
from torch_sr.images.reading.opening import Source

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SVG = (
    b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg" width="40" '
    b'height="30"><rect width="20" height="30" fill="red"/></svg>'
)


def sample_image(mode="RGB"):
    y, x = np.mgrid[0:24, 0:36]
    rgb = np.stack([x * 7, y * 10, 255 - x * 3], axis=2).astype(np.uint8)
    image = Pillow.fromarray(rgb)
    if mode == "RGBA":
        image.putalpha(Pillow.fromarray((x * 7).astype(np.uint8)))
    return image if mode in ("RGB", "RGBA") else image.convert(mode)


def encoded(kind, mode="RGB", **options):
    file = io.BytesIO()
    sample_image(mode).save(file, kind, **options)
    return file.getvalue()


def notes_of(path, **options):
    with ImageReader(path, **options) as reader:
        reader.read(reader.header.height)
        return reader.notes


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize(
    "kind", ["TGA", "PCX", "JPEG2000", "DDS", "QOI", "SGI", "DIB", "BMP", "PPM"]
)
def test_files_are_read_as_pillow_reads_them(tmp_path, kind, mode):
    try:
        data = encoded(kind, mode)
    except (OSError, ValueError):
        pytest.skip(f"{kind} has no {mode}")
    (tmp_path / "a").write_bytes(data)  # recognized by its content, not by its name
    with Pillow.open(tmp_path / "a") as pillow:
        wanted = np.asarray(pillow).reshape(24, 36, -1)
    image = read_image(tmp_path / "a")
    np.testing.assert_array_equal(image.to_array(), wanted)
    header = read_header(tmp_path / "a")
    assert (header.height, header.width, header.layers, header.depth) == (*wanted.shape, 8)


def test_the_largest_image_of_an_icon_is_read(tmp_path):
    for kind, sizes in (("ICO", [(16, 16), (32, 32)]), ("ICNS", None)):
        options = {"sizes": sizes} if sizes else {}
        sample_image().resize((32, 32)).save(tmp_path / "a", kind, **options)
        with Pillow.open(tmp_path / "a") as pillow:
            assert read_header(tmp_path / "a").width == pillow.width
        assert ["sizes was read" in note for note in notes_of(tmp_path / "a")] == [True]


def test_old_targa_files_are_recognized_by_header_and_suffix(tmp_path):
    data = encoded("TGA")
    for name, content in (("new", data), ("old.tga", data[:-26])):
        (tmp_path / name).write_bytes(content)
        assert read_image(tmp_path / name).width == 36
    for name, content in (("old", data[:-26]), ("text.tga", b"a list of names, no sample_image")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match="not an image of a known kind"):
            read_image(tmp_path / name)


def psd(depth=8, mode=3):
    planes = np.asarray(sample_image()).transpose(2, 0, 1).tobytes()
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 24, 36, depth, mode)
    return head + bytes(12) + bytes(2) + planes


def test_photoshop_documents(tmp_path):
    (tmp_path / "a.psd").write_bytes(psd())
    np.testing.assert_array_equal(read_image(tmp_path / "a.psd").color, np.asarray(sample_image()))
    for data, words in ((psd(16), "documents of 16 bits"), (psd(8, 9), "documents in Lab")):
        (tmp_path / "a.psd").write_bytes(data)
        with pytest.raises(ImageError, match=f"a.psd: save it as TIFF: .*{words}"):
            read_image(tmp_path / "a.psd")


def test_profiles_and_exif_are_kept(tmp_path):
    exif = Pillow.Exif()
    exif[0x010F] = "Maker"
    sample_image().save(tmp_path / "a.bmp")
    sample_image().save(tmp_path / "a.jp2", icc_profile=SRGB)
    image = Pillow.open(tmp_path / "a.jp2")
    assert read_image(tmp_path / "a.jp2").metadata.icc == image.info.get("icc_profile")
    (tmp_path / "v5.bmp").write_bytes(bmp_with_profile())
    assert read_image(tmp_path / "v5.bmp").metadata.icc == SRGB


def bmp(header, pixels, start=None):
    size = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", size + len(pixels), 0, 0, start or size) + header + pixels


def bgr():
    return np.ascontiguousarray(np.asarray(sample_image())[::-1, :, ::-1]).tobytes()


def bmp_with_profile():
    head = struct.pack("<IiiHHIIiiII", 124, 36, 24, 1, 24, 0, 0, 2835, 2835, 0, 0)
    head += bytes(16) + b"DEBM" + bytes(48)
    head += struct.pack("<IIII", 4, 124 + len(bgr()), len(SRGB), 0)
    return bmp(head, bgr() + SRGB)


def info(bits=24, height=24, compression=0):
    return struct.pack("<IiiHHIIiiII", 40, 36, height, 1, bits, compression, 0, 1, 1, 0, 0)


def test_variants_of_bmp(tmp_path):
    rgb = np.asarray(sample_image())
    plain = bmp(info(), bgr())
    top_down = np.ascontiguousarray(rgb[:, :, ::-1]).tobytes()
    r, g, b = rgb.astype(np.uint16).transpose(2, 0, 1)
    packed = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2")[::-1].tobytes()
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    variants = {
        "reserved bytes": plain[:6] + b"\1\2\3\4" + plain[10:],
        "OS/2": bmp(struct.pack("<IHHHH", 12, 36, 24, 1, 24), bgr()),
        "top-down": bmp(info(height=-24), top_down),
        "5-6-5": bmp(info(16, compression=3) + masks, packed),
    }
    for name, data in variants.items():
        (tmp_path / "a.bmp").write_bytes(data)
        error = np.abs(read_image(tmp_path / "a.bmp").color.astype(int) - rgb).max()
        assert error <= (8 if name == "5-6-5" else 0), name


def test_netpbm_keeps_all_depths(tmp_path):
    rgb = np.asarray(sample_image())
    deep = rgb.astype(np.uint16) * 257
    rgba = np.asarray(sample_image("RGBA"))
    pam = b"P7\nWIDTH 36\nHEIGHT 24\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    bits = (np.arange(36 * 3).reshape(3, 36) % 5 == 0).astype(np.uint8)
    text = b" ".join(b"%d" % value for value in deep.reshape(-1))
    for data, wanted in (
        (b"P6 36 24 # a comment\n65535\n" + deep.astype(">u2").tobytes(), deep),
        (b"P3\n36 24\n65535\n" + text, deep),
        (b"P5 36 24 255\n" + rgb[..., 0].tobytes(), rgb[..., :1]),
        (b"P5 2 1 1023\n" + struct.pack(">HH", 0, 1023), np.uint16([[[0], [65535]]])),
        (b"P2\n2 1\n15\n0 15\n", np.uint8([[[0], [255]]])),
        (b"P4 36 3\n" + np.packbits(bits, axis=1).tobytes(), (1 - bits[..., None]) * 255),
        (b"P1\n4 1\n0110\n", np.uint8([[[255], [0], [0], [255]]])),
        (pam + rgba.tobytes(), rgba),
        (b"PF\n36 24\n-1.0\n" + (rgb[::-1] / 255).astype("<f4").tobytes(), np.float32(rgb / 255)),
        (b"Pf\n36 24\n1.0\n" + (rgb[::-1, :, :1] / 255).astype(">f4").tobytes(), None),
    ):
        (tmp_path / "a.pnm").write_bytes(data)
        found = read_image(tmp_path / "a.pnm").to_array()
        wanted = np.float32(rgb[..., :1] / 255) if wanted is None else wanted
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("before", [b"\r\n", bytes(128), b"HTTP/1.1 200 OK\r\n\r\n"])
def test_bytes_before_and_after_the_image_are_skipped(tmp_path, kind, before):
    data = encoded(kind)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(before + data + b"more" * 99)
    wanted = read_image(tmp_path / "a").color
    np.testing.assert_array_equal(read_image(tmp_path / "b").color, wanted)
    assert notes_of(tmp_path / "b") == [f"{len(before)} bytes before the image were skipped"]


@pytest.mark.parametrize("data", [SVG, gzip.compress(SVG, mtime=0)])
def test_drawings_are_rendered_at_the_requested_size(tmp_path, data):
    (tmp_path / "a.svg").write_bytes(data)
    assert read_image(tmp_path / "a.svg").color.shape == (30, 40, 3)
    with ImageReader(tmp_path / "a.svg", drawing_size=lambda h, w: (3 * h, 3 * w)) as reader:
        rows = reader.read(90)
    assert rows.shape == (90, 120, 4)
    assert rows[50, 10].tolist() == [255, 0, 0, 255]
    assert rows[:, 61:, 3].max() == 0  # as sharp as at any size


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), "a camera's raw file.*: develop it"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file.*: develop it"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw file.*: develop it"),
        (b"%!PS-Adobe-3.0", "PostScript document.*: export it"),
        (b"%PDF-1.4\n", "a PDF document.*: export its pages"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "an OpenEXR file.*: save it as"),
        (b"#?RADIANCE\n", "a Radiance HDR file.*: save it as"),
        (b"8BPS\0\2" + bytes(40), "PSB.*: save it as"),
        (b"gimp xcf v011\0", "a GIMP document.*: export it"),
        (bytes(128) + b"DICM", "a DICOM file.*: export it"),
        (b"PK\3\4" + bytes(40), "a ZIP archive.*: extract it"),
        (gzip.compress(b"text", mtime=0), "a gzip archive.*: extract it"),
        (b"<!DOCTYPE html><html>", "a web page.*: download the image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"\0\0\0\x18ftypisom\0\0\2\0", "a video.*suffix"),
        (b"\0\0\0\x18ftypavci\0\0\0\0mif1avci", "HEIF with H.264.*: convert it"),
    ],
)
def test_other_kinds_are_named_with_a_remedy(tmp_path, data, words):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png: is .*" + words) as caught:
        read_image(tmp_path / "a.png")
    assert "damaged" not in str(caught.value)


def test_without_a_jpeg_xl_reader_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    for data in (b"\xff\x0a" + bytes(30), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30)):
        (tmp_path / "a.jxl").write_bytes(data)
        with pytest.raises(ImageError, match=r"a\.jxl: .*JPEG XL.*torch-sr\[jxl\]"):
            read_image(tmp_path / "a.jxl")


def test_jpeg_xl_is_read_if_its_reader_is_installed(tmp_path):
    pytest.importorskip("pillow_jxl")
    sample_image().save(tmp_path / "a.jxl", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jxl").color, np.asarray(sample_image()))


@pytest.mark.parametrize(
    ("change", "words"),
    [(b"\xff\xc3\0\x11\x08", "lossless coding"), (b"\xff\xc1\0\x11\x0c", "12-bit samples")],
)
def test_rare_codings_of_jpeg_are_named(tmp_path, change, words):
    data = encoded("JPEG")
    at = data.index(b"\xff\xc0")
    (tmp_path / "a.jpg").write_bytes(data[:at] + change + data[at + 5 :])
    with pytest.raises(ImageError, match=f"a.jpg: convert it to PNG .*{words}.* not supported"):
        read_image(tmp_path / "a.jpg")


def segment(number, data):
    return b"\xff" + bytes([number]) + struct.pack(">H", len(data) + 2) + data


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)), "gain map"),
        (segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0"/>'), "gain map"),
        (segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x GCamera:MotionPhoto="1"/>'), "video"),
    ],
)
def test_other_content_of_a_jpeg_is_noted(tmp_path, added, words):
    data = encoded("JPEG")
    (tmp_path / "a.jpg").write_bytes(data[:2] + added + data[2:])
    assert [words in note for note in notes_of(tmp_path / "a.jpg")] == [True]


def test_the_first_of_several_images_is_read_and_noted(tmp_path):
    others = [sample_image().rotate(180)] * 2
    sample_image().save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=others)
    assert notes_of(tmp_path / "a.mpo") == ["the first of its 3 images was read"]
    assert notes_of(write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.mpo"))) == []


def test_avif_sequences_give_their_first_image_and_a_note(tmp_path):
    pytest.importorskip("PIL.AvifImagePlugin")
    try:
        sample_image().save(
            tmp_path / "a.avif", save_all=True, append_images=[sample_image().rotate(180)]
        )
    except (KeyError, OSError):
        pytest.skip("this Pillow cannot write AVIF")
    assert notes_of(tmp_path / "a.avif") == ["only the first image of its sequence was read"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (b"tmap", "gain map"),
        (b"urn:com:apple:photo:2020:aux:hdrgainmap", "gain map"),
        (b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth", "depth map"),
    ],
)
def test_other_content_of_an_avif_or_heic_is_noted(tmp_path, item, words):
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"avif", 0)
    box = struct.pack(">I4sI", 12 + len(item), b"meta", 0) + item
    (tmp_path / "a.avif").write_bytes(head + box + struct.pack(">I4s", 8, b"mdat"))
    source = Source(tmp_path / "a.avif", find_kind(tmp_path / "a.avif"))
    assert [words in note for note in source.notes] == [True]


def test_large_files_are_refused_before_they_are_decoded(tmp_path):
    for kind in ("TGA", "QOI", "PPM", "JPEG2000"):
        (tmp_path / "a").write_bytes(encoded(kind))
        with pytest.raises(ImageError, match=r"36x24 pixels are more than the limit of 800"):
            read_image(tmp_path / "a", max_pixels=800)


def test_suffixes_of_images():
    for name in [
        "a.jfif",
        "b.jpe",
        "c.apng",
        "d.pbm",
        "e.pnm",
        "f.pam",
        "g.jif",
        "h.JFI",
        "i.dib",
        "j.hif",
        "k.mpo",
    ]:
        assert is_image_name(name)
