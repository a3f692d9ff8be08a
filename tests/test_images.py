"""images/ against Pillow and scikit-image: what is read, written and refused."""

import io
import multiprocessing
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps
from skimage.io import imread

from torch_sr.errors import ImageError
from torch_sr.images import (
    Header,
    Image,
    ImageReader,
    Metadata,
    check_writable,
    from_unit,
    is_image_name,
    open_writer,
    read_header,
    read_image,
    read_samples,
    read_size,
    to_nchw,
    to_unit,
    write_image,
)
from torch_sr.images.formats.exif import drop_thumbnail
from torch_sr.images.reading import decoding
from torch_sr.images.writing import encoders, writer

RNG = np.random.default_rng(7)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape, dtype=np.uint8):
    if dtype == np.float32:
        return RNG.random(shape, dtype=np.float32)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth(height=48, width=64):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 4, 200 - x - y], axis=2).astype(np.uint8)


def sample(colors, dtype, alpha, height=19, width=31):
    color = noise(height, width, colors, dtype=dtype)
    return Image(color, noise(height, width, dtype=dtype) if alpha else None)


def same(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


# --- Round trips --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".tif", np.uint8),
        (".tiff", np.uint16),
        (".tif", np.float32),
        (".webp", np.uint8),
        (".avif", np.uint8),
    ],
)
def test_lossless_round_trip(tmp_path, suffix, dtype, colors, alpha):
    image = sample(colors, dtype, alpha)
    path = write_image(tmp_path / f"a{suffix}", image, lossless=True)
    back = read_image(path)
    gray_kept = suffix not in (".webp", ".avif")
    same(back.color, image.color if gray_kept else np.broadcast_to(image.color, (19, 31, 3)))
    assert (back.alpha is None) == (not alpha)
    if alpha:
        same(back.alpha, image.alpha)
    assert read_size(path) == (image.height, image.width) == (19, 31)
    assert leftovers(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_one_pixel(tmp_path, suffix):
    path = write_image(tmp_path / f"a{suffix}", Image(np.full((1, 1, 3), 128, np.uint8)))
    assert np.abs(read_image(path).color.astype(int) - 128).max() <= 3


def test_png_agrees_with_scikit_image(tmp_path):
    for dtype in (np.uint8, np.uint16):
        image = sample(3, dtype, True)
        path = write_image(tmp_path / "a.png", image)
        if dtype == np.uint8:  # Pillow, which imread uses, reads 16-bit color as 8 bits
            same(imread(path), np.dstack([image.color, image.alpha]))
    gray = sample(1, np.uint16, False)
    same(imread(write_image(tmp_path / "g.png", gray)), gray.color[..., 0])


def test_avif_keeps_twelve_of_sixteen_bits(tmp_path):
    ramp = np.linspace(0, 65535, 48 * 64 * 3).round().astype(np.uint16).reshape(48, 64, 3)
    back = read_image(write_image(tmp_path / "a.avif", Image(ramp), lossless=True))
    assert back.depth == 16
    assert (back.color.min(), back.color.max()) == (0, 65535)
    assert np.abs(back.color.astype(int) - ramp).max() <= 8  # half of 65535 / 4095
    again = read_image(write_image(tmp_path / "a.avif", back, lossless=True))
    same(again.color, back.color)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".avif"])
def test_lossy_is_close_and_follows_quality(tmp_path, suffix):
    pixels = smooth()
    fine = write_image(tmp_path / f"fine{suffix}", Image(pixels))
    rough = write_image(tmp_path / f"rough{suffix}", Image(pixels), quality=20)
    assert np.abs(read_image(fine).color.astype(int) - pixels).mean() < 2
    assert rough.stat().st_size < fine.stat().st_size


def test_jpeg_is_444_on_white_and_eight_bits(tmp_path):
    alpha = np.zeros((48, 64), np.uint16)
    image = Image(smooth().astype(np.uint16) * 257, alpha)
    path = write_image(tmp_path / "a.jpg", image)
    with PillowImage.open(path) as pillow:
        assert [layer[1:3] for layer in pillow.layer] == [(1, 1)] * 3
    back = read_image(path)
    assert back.alpha is None
    assert back.depth == 8
    assert back.color.min() >= 254


def test_float_becomes_sixteen_bit_png(tmp_path):
    color = np.float32([[[-1.0], [0.25], [1.5], [np.nan]]])
    back = read_image(write_image(tmp_path / "a.png", Image(color)))
    assert back.color[0, :, 0].tolist() == [0, 16384, 65535, 0]


def test_format_overrides_suffix(tmp_path):
    path = write_image(tmp_path / "image", sample(3, np.uint8, False), file_format="png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif"])
def test_an_overwritten_file_is_read_again(tmp_path, suffix):
    for _ in range(3):
        image = sample(3, np.uint8, False)
        path = write_image(tmp_path / f"a{suffix}", image, lossless=True)
        same(read_image(path).color, image.color)


# --- What files bring along ---------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_once(tmp_path, orientation, suffix):
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    path = tmp_path / f"o{suffix}"
    PillowImage.fromarray(smooth(300, 40)).save(path, exif=exif)
    with PillowImage.open(path) as pillow:
        upright = np.asarray(ImageOps.exif_transpose(pillow).convert("RGB"))
    image = read_image(path)
    assert np.abs(image.color.astype(int) - upright).max() <= (2 if suffix == ".jpg" else 0)
    assert read_size(path) == upright.shape[:2]

    again = write_image(tmp_path / "again.png", image)
    same(read_image(again).color, image.color)
    with PillowImage.open(again) as pillow:
        assert pillow.getexif().get(0x0112, 1) == 1
        assert pillow.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_profile_and_resolution_are_kept_and_pixels_unchanged(tmp_path, suffix):
    profile = SRGB[:100] + b"\x01" + SRGB[101:]  # the given profile, not a similar one of libvips
    image = Image(smooth(), metadata=Metadata(icc=profile, dpi=300.0))
    path = write_image(tmp_path / f"a{suffix}", image, lossless=suffix != ".jpg")
    back = read_image(path)
    assert back.metadata.icc == profile
    if suffix != ".jpg":
        same(back.color, image.color)
    if suffix in (".png", ".jpg", ".tif"):
        assert back.metadata.dpi == pytest.approx(300, abs=0.1)
    assert read_image(write_image(path, Image(smooth()))).metadata.icc is None


def test_rows_are_sent_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("torch_sr.images.writing.row_pipe._AT_ONCE", 300)
    image = sample(3, np.uint16, True)
    back = read_image(write_image(tmp_path / "a.png", image))
    same(back.to_array(), image.to_array())


def gray_profile(curve):
    """The smallest valid gray profile (ICC.1:2001, 6.3.1.1)."""
    header = struct.pack(">I4xI4s4s4s24x", 144 + len(curve), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header = header[:36] + b"acsp" + header[40:]
    white = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    tags = struct.pack(">I4sII", 1, b"kTRC", 144, len(curve))
    return (header.ljust(68, b"\0") + white).ljust(128, b"\0") + tags + curve


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif"])
def test_gray_as_rgb_is_as_bright_as_its_profile_says(tmp_path, suffix):
    linear = gray_profile(b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x100))
    color = np.full((16, 16, 1), 55, np.uint8)
    for alpha in (None, np.full((16, 16), 255, np.uint8)):
        path = write_image(tmp_path / f"a{suffix}", Image(color, alpha, Metadata(icc=linear)))
        assert np.abs(read_image(path).color - 128.0).max() <= 2
    path = write_image(tmp_path / f"b{suffix}", Image(color, metadata=Metadata(icc=linear[:130])))
    assert np.abs(read_image(path).color - 55.0).max() <= 2


def test_profile_of_another_color_space_is_dropped(tmp_path):
    gray = Image(smooth()[..., :1], metadata=Metadata(icc=SRGB))
    assert read_image(write_image(tmp_path / "a.png", gray)).metadata.icc is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_png_modes_agree_with_pillow(tmp_path, mode):
    rgb = PillowImage.fromarray(noise(20, 30, 3))
    if mode == "I;16":
        source, expected = PillowImage.fromarray(noise(20, 30, dtype=np.uint16)), "I;16"
    else:
        source, expected = rgb.convert(mode), {"1": "L", "P": "RGB"}.get(mode, mode)
    source.save(tmp_path / "a.png")
    pixels = np.asarray(source if mode == "I;16" else source.convert(expected))
    pixels = pixels.reshape(20, 30, -1)
    image = read_image(tmp_path / "a.png")
    colors = 1 if pixels.shape[2] < 3 else 3
    same(image.color, pixels[..., :colors])
    assert (image.alpha is not None) == (mode in ("LA", "RGBA"))
    if image.alpha is not None:
        same(image.alpha, pixels[..., colors])


def test_transparent_palette(tmp_path):
    source = PillowImage.fromarray(noise(9, 9, 3)).quantize(8)
    source.save(tmp_path / "a.png", transparency=0)
    with PillowImage.open(tmp_path / "a.png") as pillow:
        expected = np.asarray(pillow.convert("RGBA"))
    same(read_samples(tmp_path / "a.png", channels=4), expected)


def test_cmyk_becomes_srgb(tmp_path):
    ink = np.zeros((16, 32, 4), np.uint8)
    ink[:, 16:, 3] = 255  # left half bare paper, right half black
    for name in ("a.jpg", "a.tif"):
        PillowImage.fromarray(ink, mode="CMYK").save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert image.color.shape == (16, 32, 3)
        assert image.alpha is None
        assert image.color[:, :8].min() > 240
        assert image.color[:, 24:].max() < 60


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".ppm"])
def test_formats_that_are_only_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    PillowImage.fromarray(noise(20, 30, 3)).quantize(64).convert("RGB").save(path)
    same(read_samples(path), imread(path)[..., :3].reshape(20, 30, 3))
    assert read_size(path) == (20, 30)


# --- Headers and samples ------------------------------------------------------------------------


def test_eight_bit_samples_are_exactly_what_the_file_holds(tmp_path):
    PillowImage.fromarray(noise(40, 50, 3)).save(tmp_path / "a.png", icc_profile=SRGB)
    same(read_samples(tmp_path / "a.png"), imread(tmp_path / "a.png"))
    PillowImage.fromarray(smooth()).save(tmp_path / "a.jpg", icc_profile=SRGB)
    difference = read_samples(tmp_path / "a.jpg").astype(int) - imread(tmp_path / "a.jpg")
    assert np.abs(difference).max() <= 2


def test_channels_of_samples(tmp_path):
    image = sample(3, np.uint8, True)
    path = write_image(tmp_path / "a.png", image)
    same(read_samples(path), image.color)
    same(read_samples(path, channels=4), np.dstack([image.color, image.alpha]))
    luma = np.asarray(PillowImage.fromarray(image.color).convert("L"))
    assert read_samples(path, channels=1).shape == (19, 31, 1)
    assert np.abs(read_samples(path, channels=1)[..., 0].astype(int) - luma).max() <= 1

    gray = sample(1, np.uint16, False)
    path = write_image(tmp_path / "g.png", gray)
    eight = np.rint(gray.color / 257).astype(np.uint8)
    same(read_samples(path, channels=1), eight)
    same(read_samples(path), np.repeat(eight, 3, axis=2))
    assert (read_samples(path, channels=4)[..., 3] == 255).all()
    with pytest.raises(ImageError, match="channels must be 1, 3 or 4"):
        read_samples(path, channels=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_header_describes_the_image(tmp_path, channels, dtype, alpha):
    path = write_image(tmp_path / "a.tif", sample(channels, dtype, alpha))
    header, image = read_header(path), read_image(path)
    assert (header.height, header.width) == (image.height, image.width)
    assert (header.channels, header.depth) == (image.channels, image.depth)
    assert header.alpha == (image.alpha is not None)


def test_sixteen_bits_are_kept_on_request(tmp_path):
    gray = sample(1, np.uint16, False)
    path = write_image(tmp_path / "g.png", gray)
    same(read_samples(path, channels=1, depth=16), gray.color)
    eight = write_image(tmp_path / "e.png", sample(3, np.uint8, False))
    same(read_samples(eight, depth=16), read_samples(eight).astype(np.uint16) * 257)
    assert (read_samples(eight, channels=4, depth=16)[..., 3] == 65535).all()


def test_reading_in_a_forked_worker_does_not_hang(tmp_path):
    path = write_image(tmp_path / "a.png", Image(noise(1200, 1200, 3)))
    read_samples(path)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.apply_async(read_samples, (path,)).get(timeout=30).shape == (1200, 1200, 3)


# --- Refusals -----------------------------------------------------------------------------------


def refuse(path, *words, read=read_image):
    with pytest.raises(ImageError) as caught:
        read(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    assert message.isprintable()
    for word in (Path(path).name, *words):
        assert word in message
    return message


@pytest.mark.parametrize("read", [read_image, read_size, read_samples])
def test_files_that_are_not_images_are_refused(tmp_path, read):
    refuse(tmp_path / "none.png", "no such file", read=read)
    refuse(tmp_path, "is a folder", read=read)
    (tmp_path / "empty.png").touch()
    refuse(tmp_path / "empty.png", "is empty", read=read)
    os.mkfifo(tmp_path / "pipe.png")
    refuse(tmp_path / "pipe.png", "pipe or device", read=read)
    refuse("/dev/zero", "pipe or device", read=read)
    for name in ("text.png", "table.csv"):
        (tmp_path / name).write_text("1,2\n3,4\n")
        refuse(tmp_path / name, "not an image of a known kind", read=read)
    refuse(tmp_path / "text.png" / "deeper.png", "Not a directory", read=read)
    refuse(tmp_path / ("x" * 300 + ".png"), "too long", read=read)


@pytest.mark.parametrize("part", [0.02, 0.4, 0.9])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "avif", "gif", "bmp", "ppm"])
def test_truncated_files_are_refused(tmp_path, kind, part, capfd):
    buffer = io.BytesIO()
    PillowImage.fromarray(noise(200, 100, 3)).save(
        buffer, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind)
    )
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * part)])
    refuse(path, "download it again")
    assert capfd.readouterr() == ("", "")


def test_garbage_after_a_valid_signature(tmp_path, capfd):
    path = tmp_path / "bad.png"
    whole = write_image(path, sample(3, np.uint8, False)).read_bytes()
    path.write_bytes(whole[:60] + bytes(RNG.bytes(len(whole) - 60)))
    refuse(path, "download it again")
    assert capfd.readouterr() == ("", "")


def test_bombs_are_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    write_image(path, Image(np.zeros((100, 200, 1), np.uint8)))
    assert read_image(path, max_pixels=20_000).width == 200
    assert read_image(path, max_pixels=None).width == 200
    with pytest.raises(ImageError, match=r"200x100 .* limit of 19999; raise max_pixels"):
        read_image(path, max_pixels=19_999)
    pyvips.Image.black(30_000, 30_000).pngsave(str(path), bitdepth=1)
    refuse(path, "30000x30000", "500000000")
    assert read_size(path) == (30_000, 30_000)


def test_odd_pixels_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(4, 4, 5), photometric="minisblack", planarconfig="contig")
    refuse(path, "5 channels")


def test_missing_libvips(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.png", sample(3, np.uint8, False))
    monkeypatch.setitem(sys.modules, "pyvips", None)
    refuse(path, "pip install")


def test_unreadable_file(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.png", sample(3, np.uint8, False))

    def deny(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # root can read everything
    refuse(path, "check its permissions")


@pytest.mark.parametrize(
    "name", ["ünï 文.png", "a b.png", "a[1].png", "new\nline.png", "b\udcff.png"]
)
def test_any_name(tmp_path, name):
    image = sample(3, np.uint8, False)
    same(read_image(write_image(tmp_path / name, image)).color, image.color)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).isprintable()


def test_image_names():
    assert all(map(is_image_name, ["a.png", "dir/B.JPG", "c.tiff", "d.x.webp", "e.avif"]))
    for name in (".DS_Store", "Thumbs.db", "._a.png", ".a.png", "a.txt", "png", ".png"):
        assert not is_image_name(name)


@pytest.mark.parametrize(
    ("color", "alpha"),
    [
        (np.zeros((4, 4), np.uint8), None),
        (np.zeros((4, 4, 2), np.uint8), None),
        (np.zeros((0, 4, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.int64), None),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)),
    ],
)
def test_impossible_images(color, alpha):
    with pytest.raises(ImageError):
        Image(color, alpha)


# --- Writing safely -----------------------------------------------------------------------------


def test_unwritable_targets_are_refused_before_the_work(tmp_path, monkeypatch):
    def refuses(name, words, height=9, width=9, **options):
        with pytest.raises(ImageError, match=words) as caught:
            check_writable(tmp_path / name, height, width, **options)
        assert len(str(caught.value).splitlines()) == 1

    refuses("a.xyz", r"'.xyz' is not a format that is written; use one of .png, .jpg")
    refuses("a", "'' is not a format")
    refuses("a.png", "'.bmp' is not a format", file_format="bmp")
    refuses("none/a.png", "folder does not exist")
    refuses("a.webp", "WebP holds 16383", width=16384)
    refuses("a.jpg", "JPEG holds 65500", height=65501)
    refuses("a.avif", "AVIF holds 16384", height=16385)
    (tmp_path / "dir.png").mkdir()
    refuses("dir.png", "is a folder")
    check_writable(tmp_path / "a.webp", 16383, 16383)
    monkeypatch.setattr(os, "access", lambda *_: False)
    refuses("a.png", "check the permissions of its folder")


def test_bad_options(tmp_path):
    image = sample(3, np.uint8, False)
    with pytest.raises(ImageError, match="quality must be 1 to 100, not 0"):
        write_image(tmp_path / "a.jpg", image, quality=0)
    with pytest.raises(ImageError, match="JPEG is never lossless"):
        write_image(tmp_path / "a.jpg", image, lossless=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    old = sample(3, np.uint8, False)
    path = write_image(tmp_path / "a.png", old)

    def fail(temporary, *_args):
        temporary.write_bytes(b"half")
        raise error

    monkeypatch.setattr(writer, "save", fail)
    expected = ImageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_image(path, sample(3, np.uint8, False))
    if expected is ImageError:
        assert "a.png: cannot be written (No space left on device)" in str(caught.value)
    assert leftovers(tmp_path) == ["a.png"]
    same(read_image(path).color, old.color)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_a_disk_that_fills_up(tmp_path, suffix):
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from torch_sr.images import Image, write_image\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999))\n"
        "rng = np.random.default_rng(0)\n"
        "try: write_image(sys.argv[1], Image(rng.integers(0, 255, (300, 300, 3), np.uint8)))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    path = tmp_path / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"ImageError {path}: cannot be written (File too large)")
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    assert leftovers(tmp_path) == []


def test_new_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    path = write_image(tmp_path / "a.png", sample(3, np.uint8, False))
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- Numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unit_round_trip_is_exact(dtype):
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    unit = to_unit(every)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0, 1)
    same(from_unit(unit, dtype), every)


def test_from_unit_clamps_and_rounds():
    values = np.array([-3, 0.5 / 255 - 1e-4, 0.5 / 255 + 1e-4, 2, np.nan, np.inf, -np.inf])
    assert from_unit(values, np.uint8).tolist() == [0, 0, 1, 255, 0, 255, 0]
    same(from_unit(np.float64([-3, 2]), np.float32), np.float32([-3, 2]))


def test_sixteen_to_eight_bits_rounds_every_value():
    every = np.arange(65536).astype(np.uint16)
    same(from_unit(to_unit(every), np.uint8), np.rint(every / 257).astype(np.uint8))


def test_to_unit_does_not_change_its_argument():
    values = np.float32([-1, np.nan, 2])
    assert to_unit(values).tolist() == [0, 0, 1]
    assert np.isnan(values[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_split_and_join(channels):
    pixels = noise(5, 7, channels)
    image = Image.from_array(pixels)
    assert image.channels == (1 if channels < 3 else 3)
    assert (image.alpha is not None) == (channels in (2, 4))
    same(image.to_array(), pixels)


def test_arrays_of_other_shapes():
    assert Image.from_array(noise(5, 7)).color.shape == (5, 7, 1)
    for shape in [(5,), (5, 7, 5), (5, 7, 0), (1, 5, 7, 3)]:
        with pytest.raises(ImageError):
            Image.from_array(noise(*shape))


def test_nchw():
    pixels = noise(5, 7, 3)
    batch = to_nchw(pixels)
    assert batch.shape == (1, 3, 5, 7)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[0, 2, 4, 6] == np.float32(pixels[4, 6, 2] / np.float32(255))
    same(from_unit(batch[0].transpose(1, 2, 0), np.uint8), pixels)


# --- Rows, HEIC, and what travels along ---------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
def test_heic_is_read(tmp_path, deep):
    heif = pytest.importorskip("pillow_heif")
    pixels = smooth().astype(np.uint16) * 257 if deep else smooth()
    file = heif.from_bytes("RGB;16" if deep else "RGB", (64, 48), pixels.tobytes())
    try:
        file.save(tmp_path / "a.heic", quality=-1)
    except RuntimeError:
        pytest.skip("this pillow-heif cannot write HEIC")
    back = read_image(tmp_path / "a.heic")
    assert back.depth == (16 if deep else 8)
    assert np.abs(to_unit(back.color) - to_unit(pixels)).max() < 5 / 255  # it halves the chroma
    assert read_size(tmp_path / "a.heic") == (48, 64)


def test_without_a_heic_reader_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 100)
    with pytest.raises(ImageError, match=r"a\.heic: .*torch-sr\[heif\]"):
        read_image(tmp_path / "a.heic")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_rotated_images_use_the_disk(tmp_path, monkeypatch, orientation):
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.fromarray(smooth()).save(tmp_path / "a.png", exif=exif)
    plain = read_image(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "_SMALL", 0)
    same(read_image(tmp_path / "a.png").color, plain.color)
    with PillowImage.open(tmp_path / "a.png") as pillow:
        same(plain.color, np.asarray(ImageOps.exif_transpose(pillow)))


@pytest.mark.parametrize("height", [1, 7, 300])
def test_rows_can_be_read_in_bands_of_any_height(tmp_path, height):
    image = sample(3, np.uint16, True, height=height)
    path = write_image(tmp_path / "a.tif", image)
    with ImageReader(path) as reader:
        rows = []
        while sum(map(len, rows)) < height:
            rows.append(reader.read(int(RNG.integers(1, 90))))
    same(np.concatenate(rows), image.to_array())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_rows_can_be_written_in_bands_of_any_height(tmp_path, dtype, layers):
    pixels = noise(70, 33, layers, dtype=dtype)
    colors = 1 if layers < 3 else 3
    header = Header(70, 33, colors, pixels.itemsize * 8, layers > colors)
    with open_writer(tmp_path / "a.tif", header) as writer:
        for start, stop in ((0, 1), (1, 50), (50, 70)):
            writer.write(pixels[start:stop])
    same(read_image(tmp_path / "a.tif").to_array(), pixels)


def test_errors_of_the_caller_are_not_attributed_to_the_file(tmp_path):
    def write_and_fail(error):
        with open_writer(tmp_path / "a.png", Header(9, 9, 3, 8, False)) as writer:
            writer.write(noise(4, 9, 3))
            raise error

    for error in (ValueError("mine"), MemoryError(), OSError("mine"), ImageError("other: bad")):
        with pytest.raises(type(error)) as caught:
            write_and_fail(error)
        assert caught.value is error
    assert leftovers(tmp_path) == []


def test_too_few_rows_leave_no_file(tmp_path):
    with (
        pytest.raises(ImageError, match=r"a\.png: cannot be written"),
        open_writer(tmp_path / "a.png", Header(400, 99, 3, 8, False)) as writer,
    ):
        writer.write(noise(4, 99, 3))
    assert leftovers(tmp_path) == []


def test_several_pages_need_a_format_that_holds_them(tmp_path):
    with (
        pytest.raises(ImageError, match=r"2 pages do not fit: JPEG .*\.tif"),
        open_writer(tmp_path / "a.jpg", Header(4, 4, 3, 8, False, pages=2)),
    ):
        pass


def test_thumbnails_in_xmp_are_dropped(tmp_path):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><xmp:Thumbnails><a>OLD</a></xmp:Thumbnails>'
        b"<exif:PixelXDimension>64</exif:PixelXDimension></x:xmpmeta>"
    )
    image = Image(smooth(), metadata=Metadata(xmp=xmp))
    path = write_image(tmp_path / "a.webp", image)
    data = path.read_bytes()
    assert b"OLD" not in data
    assert b"<exif:PixelXDimension>64<" in data


def exif_with_thumbnail(order, thumbnail):
    """A block with a camera maker's name, and a second directory that points to a JPEG."""

    def entry(tag, kind, count, value):
        packed = (
            struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        )
        return struct.pack(order + "HHI", tag, kind, count) + packed

    second = 8 + 2 + 12 + 4 + 6
    jpeg = second + 2 + 36 + 4
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(order + "I", 8)]
    parts += [
        struct.pack(order + "H", 1),
        entry(0x010F, 2, 6, 26),
        struct.pack(order + "I", second),
    ]
    parts += [b"Maker\0", struct.pack(order + "H", 3), entry(0x0103, 3, 1, 6)]
    parts += [entry(0x0201, 4, 1, jpeg), entry(0x0202, 4, 1, len(thumbnail)), bytes(4), thumbnail]
    return b"Exif\0\0" + b"".join(parts)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_of_the_old_image_is_dropped(tmp_path, suffix, order):
    file = io.BytesIO()
    PillowImage.new("L", (8, 8), 77).save(file, "JPEG")
    exif = exif_with_thumbnail(order, file.getvalue())
    PillowImage.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif)
    assert file.getvalue() in (tmp_path / "a.jpg").read_bytes()
    path = write_image(tmp_path / f"b{suffix}", read_image(tmp_path / "a.jpg"))
    assert file.getvalue() not in path.read_bytes()
    with PillowImage.open(path) as result:
        assert result.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff"])
def test_invalid_exif_is_left_unchanged(exif):
    assert drop_thumbnail(exif) == exif


def test_large_jpegs_are_written_without_holding_all_coefficients(tmp_path, monkeypatch):
    pixels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    small = write_image(tmp_path / "small.jpg", Image(pixels))
    monkeypatch.setattr(encoders, "_LARGE", 64)
    large = write_image(tmp_path / "large.jpg", Image(pixels))
    np.testing.assert_array_equal(read_image(large).color, read_image(small).color)
    assert large.stat().st_size > small.stat().st_size  # by the standard's Huffman tables
