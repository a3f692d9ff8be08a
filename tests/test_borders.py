"""The borders of images: mirrored before the network, cut off after it."""

import numpy as np
import pytest
import torch

from torch_sr.images import Header
from torch_sr.inference.borders import MirroredRows, cut_borders
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.upscaler import Upscaler
from torch_sr.networks.rrdb import RRDBNet


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return lambda *shape: rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def shipped():
    return Upscaler("compact-x4", device="cpu", precision="fp32")


def mirrored(image, border, step):
    header = Header(image.shape[1], image.shape[2], image.shape[3], 8, False)
    done = 0

    def read(count):
        nonlocal done
        done += count
        assert done <= image.shape[1]
        return image[:, done - count : done]

    rows = MirroredRows(header, read, border)
    parts = [rows.read(step) for _ in range(0, rows.header.height, step)]
    whole = np.concatenate(parts, axis=1)
    assert whole.shape[1:3] == (rows.header.height, rows.header.width)
    return whole


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 40), (40, 5), (33, 34)])
@pytest.mark.parametrize("border", [0, 1, 3, 14, 50])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_rows_are_mirrored_as_numpy_mirrors_them(noise, size, border, step):
    image = np.stack([noise(*size, 3), noise(*size, 3)])
    sides = ((0, 0), (border, border), (border, border), (0, 0))
    np.testing.assert_array_equal(
        mirrored(image, border, step), np.pad(image, sides, mode="symmetric")
    )


def test_few_rows_are_kept(noise):
    image = noise(500, 4, 3)[None]
    rows = MirroredRows(Header(500, 4, 3, 8, False), lambda n: image[:, :n], 6)
    for _ in range(30):
        rows.read(10)
        assert rows._held.shape[1] <= 20


@pytest.mark.parametrize("step", [1, 4, 9, 100])
def test_borders_are_cut_off_for_any_bands(noise, step):
    image = noise(31, 17, 3)[None]
    bands = (image[:, top : top + step] for top in range(0, 31, step))
    cut = np.concatenate(list(cut_borders(bands, 5, 21, 7)), axis=1)
    np.testing.assert_array_equal(cut, image[:, 5:26, 5:12])


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 9), (24, 24), (32, 32)])
@pytest.mark.parametrize(
    "color",
    [(200, 10, 30), (0, 255, 0), (255, 0, 255), (0, 0, 0), (255, 255, 255), (128, 128, 128)],
)
def test_a_flat_image_stays_flat_up_to_its_corners(shipped, size, color):
    image = np.empty((*size, 3), dtype=np.uint8)
    image[:] = color
    sr = shipped.upscale(image).astype(int)
    # The rest is the level by which the network changes this color everywhere.
    assert np.abs(sr - color).max() <= 1
    assert np.ptp(sr, axis=(0, 1)).max() <= 1


def test_a_flat_transparent_logo_and_16_bits_stay_flat(shipped):
    logo = np.empty((9, 12, 4), dtype=np.uint8)
    logo[:] = (200, 10, 30, 128)
    assert np.abs(shipped.upscale(logo).astype(int) - logo[0, 0]).max() <= 1
    deep = np.full((9, 12, 1), 51_400, dtype=np.uint16)
    assert np.abs(shipped.upscale(deep).astype(int) - 51_400).max() <= 257


def test_the_inside_equals_the_result_without_borders(noise):
    torch.manual_seed(0)
    network = RRDBNet(scale_factor=2, rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    lr = noise(60, 50, 3)
    engine = PyTorchEngine(network, 2, 3, "cpu", "fp32")
    with_border, bare = Upscaler(engine), Upscaler(engine, border=0)
    assert with_border.border == with_border.overlap > 0
    inside = slice(40, -40)
    a, b = with_border.upscale(lr)[inside, inside], bare.upscale(lr)[inside, inside]
    assert np.abs(a.astype(int) - b).max() <= 1


def test_tiles_with_borders_equal_the_whole(shipped, noise):
    lr = noise(70, 90, 3)
    tiled = Upscaler("compact-x4", device="cpu", precision="fp32", tile_size=60)
    assert tiled.border == shipped.border
    whole, tiles = shipped.upscale(lr).astype(int), tiled.upscale(lr).astype(int)
    assert np.abs(whole - tiles).max() <= 1
