"""Damaged files are refused, naming the option that keeps what can be read, or kept."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow
from typer.testing import CliRunner

from torch_sr.cli.main import app
from torch_sr.errors import ImageError
from torch_sr.images import ImageReader, read_header, read_image, read_samples
from torch_sr.inference.files.batch import upscale_files
from torch_sr.inference.files.jobs import find_jobs
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.upscaler import Upscaler

RNG = np.random.default_rng(3)
Y, X = np.mgrid[0:120, 0:96]
PIXELS = np.stack([X, Y, 200 - X], axis=2).astype(np.uint8) // 2 + 1
PIXELS += RNG.integers(0, 30, PIXELS.shape, dtype=np.uint8)
SAMPLE = Pillow.fromarray(PIXELS)


class Enlarge:
    """An engine that repeats pixels."""

    scale_factor, img_channels, tile_area, tiles_redone = 2, 3, 10_000, 0

    def __call__(self, lr):
        return lr.repeat(2, 2).repeat(2, 3)


def pillow(kind, image=SAMPLE, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, photometric="rgb", **options)
    return file.getvalue()


def files():
    """A file of each kind whose decoder continues after damage; whether its pixels are exact."""
    two = {"save_all": True, "append_images": [SAMPLE.rotate(180)]}
    return {
        "png": pillow("PNG"),
        "palette.png": pillow("PNG", SAMPLE.quantize(64)),
        "alpha.png": pillow("PNG", SAMPLE.convert("RGBA")),
        "deep.png": pyvips.Image.new_from_array(PIXELS.astype(np.uint16) * 257).pngsave_buffer(),
        "interlaced.png": pyvips.Image.new_from_array(PIXELS).pngsave_buffer(interlace=True),
        "jpg": pillow("JPEG", quality=95),
        "progressive.jpg": pillow("JPEG", progressive=True),
        "cmyk.jpg": pillow("JPEG", SAMPLE.convert("CMYK")),
        "gif": pillow("GIF"),
        "animated.gif": pillow("GIF", **two),
        "lossless.webp": pillow("WEBP", lossless=True),
        "webp": pillow("WEBP"),
        "tif": tiff(),
        "deflate.tif": tiff(compression="zlib", rowsperstrip=16),
        "tiles.tif": tiff(tile=(32, 32)),
        "deflate.tiles.tif": tiff(tile=(32, 32), compression="zlib"),
        "bmp": pillow("BMP"),
        "ppm": pillow("PPM"),
        "tga": pillow("TGA", compression="tga_rle"),
        "pcx": pillow("PCX"),
        "qoi": pillow("QOI"),
    }


FILES = files()
EXACT = ("png", "alpha.png", "lossless.webp", "tif", "deflate.tif", "tiles.tif", "bmp", "ppm")
EXACT += ("tga", "pcx", "qoi", "deflate.tiles.tif")


def cut(path, data, part):
    path.write_bytes(data[: int(len(data) * part)])
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.55, 0.95])
def test_truncated_files_are_refused_with_the_option_that_keeps_them(tmp_path, name, part):
    path = cut(tmp_path / f"a.{name}", FILES[name], part)
    with (
        pytest.raises(ImageError, match=r"--damaged keep") as caught,
        ImageReader(path, pages=True) as reader,
    ):
        reader.read(reader.header.height * reader.header.pages)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", [name for name in FILES if name != "animated.gif"])
def test_the_readable_part_is_kept_and_the_rest_is_gray(tmp_path, name):
    path = cut(tmp_path / f"a.{name}", FILES[name], 0.55)
    with ImageReader(path, damaged="keep") as reader:
        assert (reader.header.height, reader.header.width) == (120, 96)
        rows = reader.read(120)
        notes = [note for note in reader.notes if "CMYK" not in note]
    assert len(notes) == 1
    assert "the file is damaged" in notes[0]
    if name in EXACT:
        intact = (rows[..., :3] == PIXELS).all(axis=(1, 2))
        gray = np.isin(rows[..., :3], (127, 128)).all(axis=2).any(axis=1)
        assert intact.sum() >= 32
        assert (intact | gray).all()
        assert f"{(~intact).sum()} of its 120 rows are missing and gray" in notes[0]
        if rows.shape[2] == 4:
            assert rows[..., 3].min() == 255


@pytest.mark.parametrize("name", FILES)
def test_intact_files_are_read_as_usual(tmp_path, name):
    path = tmp_path / f"a.{name}"
    path.write_bytes(FILES[name])
    with ImageReader(path, damaged="keep") as reader:
        rows = reader.read(120)
        notes = [note for note in reader.notes if "CMYK" not in note]
    np.testing.assert_array_equal(rows, read_image(path).to_array())
    assert notes == []


def test_complete_frames_are_kept(tmp_path):
    path = cut(tmp_path / "a.gif", FILES["animated.gif"], 0.8)
    notes = []
    Upscaler(Enlarge()).upscale_file(path, tmp_path / "b.gif", damaged="keep", on_note=notes.append)
    assert read_header(tmp_path / "b.gif", pages=True).pages == 2
    assert notes[0] == "the file is damaged: the end of its animation is missing"


def test_a_tile_in_the_middle_is_gray(tmp_path):
    data = bytearray(FILES["deflate.tiles.tif"])
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        start, size = file.pages[0].dataoffsets[4], file.pages[0].databytecounts[4]
    data[start : start + size] = bytes(size)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match="--damaged keep"):
        read_image(tmp_path / "a.tif")
    with ImageReader(tmp_path / "a.tif", damaged="keep") as reader:
        rows = reader.read(120)
    wrong = (rows != PIXELS).any(axis=2)
    assert (wrong[32:64, 32:64].mean() > 0.99, wrong.sum() <= 32 * 32) == (True, True)
    assert (rows[32:64, 32:64] == 128).all()


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "gif", "tif", "bmp", "tga", "ppm"])
def test_files_without_any_readable_part_are_refused(tmp_path, name):
    suffix = f"a.{name}"
    for length in (18, 30, 600 if name == "jpg" else 12):
        (tmp_path / suffix).write_bytes(FILES[name][:length])
        with (
            pytest.raises(ImageError, match=suffix),
            ImageReader(tmp_path / suffix, damaged="keep"),
        ):
            pass


@pytest.mark.parametrize("name", [name for name in FILES if name != "animated.gif"])
def test_the_limit_of_pixels_holds_for_damaged_files(tmp_path, name):
    path = cut(tmp_path / f"a.{name}", FILES[name], 0.8)
    with pytest.raises(ImageError, match="96x120 pixels are more than the limit of 9999"):
        ImageReader(path, 9999, damaged="keep")


def test_a_false_header_is_refused_before_decoding(tmp_path):
    data = bytearray(FILES["png"])
    data[16:24] = b"\x7f\xff\xff\xff" * 2
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png"):
        ImageReader(tmp_path / "a.png", damaged="keep")


def test_missing_pages_are_noticed(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(3):
            file.write(PIXELS, photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(ImageError, match="--damaged keep"):
        Upscaler(Enlarge()).upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    with ImageReader(tmp_path / "a.tif", pages=True, damaged="keep") as reader:
        assert reader.header.pages == 2
        np.testing.assert_array_equal(reader.read(120), PIXELS)
        assert (reader.read(120) == PIXELS).all(axis=(1, 2)).sum() > 40
        assert reader.notes[0] == "the file is damaged: some of its pages are missing"
        assert "of its 120 rows are missing" in reader.notes[1]


def test_data_sets_refuse_damaged_files(tmp_path):
    path = cut(tmp_path / "a.png", FILES["png"], 0.9)
    with pytest.raises(ImageError, match="damaged"):
        read_samples(path)


def test_the_option_of_the_command_reaches_the_reader(tmp_path):
    path = cut(tmp_path / "a.png", FILES["png"], 0.9)
    jobs = find_jobs([str(path)]).jobs
    for damaged, status in (("refuse", "failed"), ("keep", "done")):
        options = BatchOptions(damaged=damaged)
        (outcome,) = upscale_files([Upscaler(Enlarge())], jobs, options)
        assert outcome.status == status
    assert "rows are missing and gray" in outcome.notes[0]


def test_the_command_keeps_damaged_files(tmp_path):
    path = cut(tmp_path / "a.png", pillow("PNG", SAMPLE.crop((0, 0, 16, 16))), 0.9)
    command = ["upscale", str(path), "--device", "cpu", "--json"]
    lines = CliRunner().invoke(app, command).stdout.splitlines()
    assert "--damaged keep" in json.loads(lines[0])["message"]
    lines = CliRunner().invoke(app, [*command, "--damaged", "keep"]).stdout.splitlines()
    assert json.loads(lines[0])["status"] == "done"
    assert CliRunner().invoke(app, [*command, "--damaged", "mend"]).exit_code == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_single_strip_without_compression_is_kept_up_to_the_cut(tmp_path, dtype):
    most = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    pixels = (PIXELS / 255 * most).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", rowsperstrip=len(pixels))
    content = (tmp_path / "a.tif").read_bytes()
    row = pixels[0].nbytes
    (tmp_path / "a.tif").write_bytes(content[: -20 * row])
    with ImageReader(tmp_path / "a.tif", damaged="keep") as reader:
        kept = reader.read(len(pixels))
        assert reader.notes == ["the file is damaged: 20 of its 120 rows are missing and gray"]
    np.testing.assert_allclose(kept[:100], pixels[:100], rtol=1e-6)
    np.testing.assert_allclose(kept[100:] / np.float64(most), 0.5, atol=0.01)


def test_rows_before_an_error_in_a_small_png_are_kept(tmp_path):
    content = bytearray(pillow("PNG"))
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(b ^ 0xFF for b in content[middle : middle + 200])
    (tmp_path / "a.png").write_bytes(content)
    with ImageReader(tmp_path / "a.png", damaged="keep") as reader:
        kept = reader.read(len(PIXELS))
        assert "damaged" in reader.notes[0]
    np.testing.assert_array_equal(kept[:50], PIXELS[:50])


def test_a_sheet_of_a_damaged_file_is_drawn(tmp_path):
    (tmp_path / "a.png").write_bytes(pillow("PNG")[:-2000])
    options = ["--compare", "--damaged", "keep", "--device", "cpu"]
    result = CliRunner().invoke(app, ["upscale", str(tmp_path / "a.png"), *options])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a_sr_sheet.png").exists()


def test_an_error_does_not_mention_another_file(tmp_path):
    cut(tmp_path / "a.jpg", FILES["jpg"], 0.5)
    with ImageReader(tmp_path / "a.jpg", damaged="keep") as reader:
        reader.read(reader.header.height)
    cut(tmp_path / "b.png", FILES["png"], 0.5)
    with pytest.raises(ImageError) as failure:
        read_image(tmp_path / "b.png")
    assert "JPEG" not in str(failure.value)


def animated():
    turned = [SAMPLE.rotate(angle) for angle in (90, 180, 270)]
    return pillow("PNG", save_all=True, append_images=turned, duration=[10, 20, 30, 40], loop=3)


def frames_of(path, damaged="keep"):
    with ImageReader(path, pages=True, damaged=damaged) as reader:
        header = reader.header
        frames = [reader.read(header.height) for _ in range(header.pages)]
        return frames, reader.metadata, reader.notes


def test_an_intact_animation_keeps_its_frames_where_damaged_files_are_kept(tmp_path):
    (tmp_path / "a.png").write_bytes(animated())
    frames, metadata, notes = frames_of(tmp_path / "a.png")
    assert (len(frames), metadata.delays, metadata.loop, notes) == (4, (10, 20, 30, 40), 3, [])


@pytest.mark.parametrize("at_a_boundary", [False, True])
def test_complete_frames_of_an_animated_png_are_kept(tmp_path, at_a_boundary):
    content = animated()
    end = content.rfind(b"fcTL") - 4
    (tmp_path / "a.png").write_bytes(content[: end if at_a_boundary else end + 300])
    with pytest.raises(ImageError, match="--damaged keep"):
        frames_of(tmp_path / "a.png", "refuse")
    frames, metadata, notes = frames_of(tmp_path / "a.png")
    assert notes == ["the file is damaged: 1 of its 4 frames is missing"]
    assert metadata.delays == (10, 20, 30)
    np.testing.assert_array_equal(frames[1][..., :3], np.asarray(SAMPLE.rotate(90)))


def test_complete_frames_of_an_animated_webp_are_kept(tmp_path):
    turned = [SAMPLE.rotate(angle) for angle in (90, 180, 270)]
    content = pillow("WEBP", save_all=True, append_images=turned, duration=30, lossless=True)
    (tmp_path / "a.webp").write_bytes(content[: content.rfind(b"ANMF") + 300])
    with pytest.raises(ImageError, match="--damaged keep"):
        frames_of(tmp_path / "a.webp", "refuse")
    with ImageReader(tmp_path / "a.webp", pages=True, damaged="keep") as reader:
        frames = reader.read(3 * len(PIXELS))
        assert reader.header.pages == 3
        assert reader.notes == ["the file is damaged: the end of its animation is missing"]
    np.testing.assert_array_equal(frames[: len(PIXELS)], PIXELS)
