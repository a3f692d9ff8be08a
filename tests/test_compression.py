"""Compression is estimated from the headers of files that Pillow and libwebp wrote."""

from __future__ import annotations

import pytest
from PIL import Image as PillowImage
from skimage.data import chelsea

from torch_sr.images.reading.compression import jpeg_quality, visible_compression


@pytest.fixture
def store(tmp_path):
    """Store a detail of a photograph by Pillow."""

    def store(name, **options):
        image = PillowImage.fromarray(chelsea()[60:220, 100:300])
        if options.pop("gray", False):
            image = image.convert("L")
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return store


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 85, 86, 95, 99])
def test_the_quality_of_a_jpeg_is_found(store, quality):
    assert jpeg_quality(store("a.jpg", quality=quality)) == quality
    assert jpeg_quality(store("g.jpg", quality=quality, gray=True, progressive=True)) == quality


@pytest.mark.parametrize(
    ("name", "options", "seen"),
    [
        ("a.jpg", {"quality": 95}, None),
        ("a.jpg", {"quality": 86}, None),
        ("a.jpg", {"quality": 85}, "JPEG of quality 85"),
        ("renamed.png", {"quality": 60, "format": "JPEG"}, "JPEG of quality 60"),
        ("a.webp", {"quality": 90}, None),
        ("a.webp", {"quality": 80}, None),
        ("a.webp", {"quality": 60}, "WebP of low quality"),
        ("a.webp", {"quality": 5}, "WebP of low quality"),
        ("a.webp", {"lossless": True, "quality": 5}, None),
        ("a.avif", {"quality": 95}, None),
        ("a.avif", {"quality": 20}, "AVIF of 0."),
        ("a.png", {}, None),
    ],
)
def test_visible_compression(store, name, options, seen):
    found = visible_compression(store(name, **options))
    assert found is None if seen is None else found.startswith(seen)


def test_webp_with_a_profile_and_alpha_too(tmp_path):
    image = PillowImage.fromarray(chelsea()[:120, :150]).convert("RGBA")
    image.putalpha(100)
    image.save(tmp_path / "a.webp", quality=30, icc_profile=b"x" * 300)
    assert visible_compression(tmp_path / "a.webp") == "WebP of low quality"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x1cftypavif", b"\0" * 99]
)
def test_damaged_files_are_not_reported_here(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    assert visible_compression(tmp_path / "a.bin") is None
    assert visible_compression(tmp_path / "missing.jpg") is None
