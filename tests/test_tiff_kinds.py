"""TIFFs of every kind of samples: converted if their meaning is clear, otherwise named."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms
from skimage.color import rgb2lab, rgb2xyz, xyz2lab

from torch_sr.errors import ImageError
from torch_sr.images import (
    ImageReader,
    convert,
    read_header,
    read_image,
    read_samples,
    to_unit,
    write_image,
)
from torch_sr.inference.upscaler import Upscaler

Y, X = np.mgrid[0:24, 0:32]
RGB = np.stack([X / 31, Y / 23, 1 - X / 62], axis=2)

BRADFORD = np.array(  # from a white of D65 to D50, as ICC profiles do it
    [
        [1.0478112, 0.0228866, -0.0501270],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ]
)


class Enlarge:
    """An engine that repeats pixels."""

    scale_factor, img_channels, tile_area, tiles_redone = 2, 3, 10_000, 0

    def __call__(self, lr):
        return lr.repeat(2, 2).repeat(2, 3)


def save(path, array, photometric="rgb", **options):
    tifffile.imwrite(path, array, photometric=photometric, **options)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f2", "f8", "i2", "i4", "i8", "u4", "u8", "i1"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_samples_of_all_widths(tmp_path, kind, order, compression):
    top = 1 if kind[0] == "f" else np.iinfo(kind).max
    for array, photometric in ((RGB, "rgb"), (RGB[..., 0], "minisblack")):
        path = save(
            tmp_path / "a.tif",
            (array * float(top) * 0.99).astype(kind),
            photometric,
            byteorder=order,
            compression=compression,
        )
        image = read_image(path)
        wanted = array.reshape(24, 32, -1) * 0.99
        scale = image.metadata.values.high / top if image.metadata.values else 1.0
        np.testing.assert_allclose(image.color * scale, wanted, atol=0.02 if kind == "i1" else 1e-3)
        header = read_header(path)
        assert (header.depth, header.channels) == (32, image.channels)


def test_floats_with_alpha_and_in_tiles(tmp_path):
    rgba = np.dstack([RGB, RGB[..., 0]])
    path = save(tmp_path / "a.tif", rgba, extrasamples=("unassalpha",), tile=(16, 16))
    image = read_image(path)
    np.testing.assert_allclose(image.to_array(), rgba, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 32), (20, 27)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_in_tiles_are_read(tmp_path, size, compression):
    pixels = convert(RGB[: size[0], : size[1]].astype(np.float32), np.uint8)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    layout = {"planarconfig": "separate", "tile": (16, 16), "compression": compression}
    path = save(tmp_path / "a.tif", planes, **layout)
    np.testing.assert_array_equal(read_image(path).color, pixels)


@pytest.mark.parametrize("name", ["cielab", "icclab"])
@pytest.mark.parametrize("deep", [False, True])
def test_lab_becomes_srgb(tmp_path, name, deep):
    lab = rgb2lab(RGB)
    if name == "icclab":
        lab = xyz2lab(rgb2xyz(RGB) @ BRADFORD.T, illuminant="D50")
        full, unit, offset = (65280, 256, 128) if deep else (255, 1, 128)
    else:
        full, unit, offset = (65535, 256, 0) if deep else (255, 1, 0)
    dtype = np.uint16 if deep else np.uint8
    light = lab[..., :1] / 100 * full
    others = np.rint((lab[..., 1:] + offset) * unit) % (65536 if deep else 256)
    path = save(tmp_path / "a.tif", np.dstack([light, others]).astype(dtype), name)
    image = read_image(path)
    assert image.color.dtype == dtype
    error = np.abs(to_unit(image.color) - RGB)
    assert error.max() < (0.002 if deep else 0.1)  # a step of a or b is large in dark blue
    assert error.mean() < (0.0005 if deep else 0.01)


def test_lab_with_a_profile_is_read_as_pillow_converts_it(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    colors = np.array([[[200, 60, 50], [90, 160, 70], [60, 80, 150], [128, 128, 128]]], np.uint8)
    image = ImageCms.profileToProfile(Pillow.fromarray(colors), srgb, lab, outputMode="LAB")
    image.save(tmp_path / "a.tif")
    with ImageReader(tmp_path / "a.tif") as reader:
        found = reader.read(1)
        assert reader.notes == ["Lab was converted to sRGB"]
    assert np.abs(found.astype(int) - colors).max() <= 3


def test_float_lab_and_float_cmyk(tmp_path):
    path = save(tmp_path / "a.tif", rgb2lab(RGB).astype(np.float32), "cielab")
    assert np.abs(to_unit(read_image(path).color) - RGB).max() < 0.002
    ink = np.dstack([1 - RGB, RGB[..., 0] * 0.2])
    found = [
        to_unit(read_image(save(tmp_path / "a.tif", (ink * top).astype(kind), "separated")).color)
        for kind, top in (("f4", 1), ("u2", 65535))
    ]
    assert np.abs(found[0] - found[1]).max() < 0.001
    assert found[0].std() > 0.1


def test_ycbcr_without_jpeg(tmp_path):
    rgb = Pillow.fromarray((RGB * 255).astype(np.uint8))
    rgb.convert("YCbCr").save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif").color.astype(int) - np.asarray(rgb)).max() <= 3


@pytest.mark.parametrize("compression", ["lzma", "zstd"])
def test_compressions_that_libvips_does_not_read(tmp_path, compression):
    rgb = Pillow.fromarray((RGB * 255).astype(np.uint8))
    rgb.save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").color, np.asarray(rgb))


def test_channels_besides_color_and_alpha_are_left_out_and_noted(tmp_path):
    five = np.dstack([RGB, RGB[..., :2]])
    path = save(tmp_path / "a.tif", (five * 255).astype(np.uint8), extrasamples=(0, 0))
    with ImageReader(path) as reader:
        assert reader.header.layers == 3
        assert reader.notes == ["2 channels besides color and alpha were left out"]


@pytest.mark.parametrize(
    ("dtype", "options", "words"),
    [
        (np.complex64, {}, "64-bit complex samples"),
        (np.complex128, {"photometric": "minisblack"}, "128-bit complex samples"),
        (np.float32, {"photometric": "miniswhite"}, "32-bit float samples in which 0 is white"),
        (np.uint32, {"photometric": "separated"}, "32-bit unsigned integer CMYK samples"),
        (np.uint8, {"photometric": 32803}, "camera's raw file"),
        (np.uint8, {"photometric": 10}, "TIFF colors of kind 10"),
    ],
)
def test_unsupported_samples_are_named_and_not_called_damaged(tmp_path, dtype, options, words):
    layers = {"minisblack": 1, "miniswhite": 1, "separated": 4, 32803: 1}
    count = layers.get(options.get("photometric"), 3)
    array = np.ones((8, 8, count)[: 2 + (count > 1)], dtype)
    path = save(tmp_path / "a.tif", array, **options)
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=f"a.tif: .*{words}") as caught:
            read(path)
        assert "damaged" not in str(caught.value)


def test_an_unsupported_compression_is_named(tmp_path):
    path = save(tmp_path / "a.tif", (RGB * 255).astype(np.uint8))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x03\x01\x03\0\x01\0\0\0\x01\0")  # the tag of the compression: none
    data[at + 8 : at + 10] = (34887).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif: save it again with LZW .*LERC"):
        read_image(path)


# --- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 4), (0, 255), (-1, 1), (-1024, 3071), (0, 1e6), (0.2, 1.0003)]
)
def test_floats_above_one_keep_their_range(tmp_path, low, high):
    array = (RGB * (high - low) + low).astype(np.float32)
    path = save(tmp_path / "a.tif", array)
    with ImageReader(path) as reader:
        rows = reader.read(24)
        assert (rows.min() >= 0, rows.max() <= 1) == (True, True)
    target = Upscaler(Enlarge()).upscale_file(path, tmp_path / "b.tif", size=lambda h, w: (h, w))
    result = np.asarray(pyvips.Image.tiffload(str(target)))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[8:-8, 8:-8], array[8:-8, 8:-8], atol=0.03 * (high - low))
    image = Upscaler(Enlarge()).upscale(path)
    values = image.metadata.values
    pixels = image.to_array()
    restored = pixels if values is None else values.restore(pixels, image.channels)
    np.testing.assert_allclose(
        restored, array.repeat(2, 0).repeat(2, 1), rtol=1e-5, atol=2e-6 * (high - low)
    )


def test_integers_keep_their_range_and_are_clipped_to_it(tmp_path):
    array = (RGB * 3000 - 1000).astype(np.int16)
    path = save(tmp_path / "a.tif", array)
    target = Upscaler(Enlarge()).upscale_file(path, tmp_path / "b.tif")
    result = np.asarray(pyvips.Image.tiffload(str(target)))
    np.testing.assert_allclose(result, array.repeat(2, 0).repeat(2, 1), atol=0.01)
    assert (result.min(), result.max()) == (array.min(), array.max())


@pytest.mark.parametrize(
    ("largest", "white"), [(250, 255), (255, 255), (40_000, 65535), (1000, 1000), (4, 4)]
)
def test_white_follows_from_the_largest_value(tmp_path, largest, white):
    array = np.full((8, 8), largest, np.float32)
    array[0] = 0
    notes = []
    path = save(tmp_path / "a.tif", array, "minisblack")
    Upscaler(Enlarge()).upscale_file(path, tmp_path / "b.png", on_note=notes.append)
    level = read_image(tmp_path / "b.png").color[8, 8, 0]
    assert level == round(65535 * largest / white)
    assert notes == [f"PNG cannot hold the file's values: 0 became black and {white} white"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_nan_and_infinite_values_are_refused(tmp_path, bad, dtype):
    array = RGB.astype(dtype)
    array[3, 4, 1] = bad
    with pytest.raises(ImageError, match=r"a\.tif: replace its 1 samples .*NaN"):
        read_image(save(tmp_path / "a.tif", array))


def test_data_sets_refuse_values_that_no_format_defines(tmp_path):
    path = save(tmp_path / "a.tif", (RGB * 255).astype(np.float32))
    with pytest.raises(ImageError, match=r"a\.tif: convert it to 8 bits.* from 0 to 255"):
        read_samples(path)
    near = (RGB * 1.02 - 0.01).astype(np.float32)
    path = save(tmp_path / "a.tif", near)
    np.testing.assert_array_equal(read_samples(path), convert(near, np.uint8))


def test_the_value_range_stays_with_an_image(tmp_path):
    array = (RGB * 900 - 20).astype(np.float32)
    image = read_image(save(tmp_path / "a.tif", array))
    result = pyvips.Image.tiffload(str(write_image(tmp_path / "b.tif", image)))
    np.testing.assert_allclose(np.asarray(result), array, atol=1e-3)
