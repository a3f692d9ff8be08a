"""The upscaler: tiles that leave no trace, every kind of picture, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import chelsea

from torch_sr.data.resize import imresize
from torch_sr.errors import ConfigError, DeviceError, DeviceMemoryError, ImageError, ModelError
from torch_sr.images import Image, read_image, write_image
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.inference.upscaler import Upscaler
from torch_sr.metrics import measure
from torch_sr.models.rrdb import RRDBNet


class Enlarge:
    """An engine without a receptive field: a pixel becomes a square, so tiling changes nothing."""

    tile_area = 32 * 32
    tiles_redone = 0

    def __init__(self, scale_factor=4, img_channels=3):
        self.scale_factor = scale_factor
        self.img_channels = img_channels
        self.largest = 0

    def __call__(self, lr):
        assert lr.dtype == np.float32
        assert lr.shape[1] == self.img_channels
        self.largest = max(self.largest, *lr.shape[2:])
        return lr.repeat(self.scale_factor, 2).repeat(self.scale_factor, 3)


@pytest.fixture
def noise():
    return lambda *shape, dtype=np.uint8: np.random.default_rng(0).integers(
        0, np.iinfo(dtype).max + 1, shape, dtype=dtype
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (31, 33), (100, 257), (7, 1000)])
@pytest.mark.parametrize(("tile", "overlap"), [(1, 0), (16, 0), (40, 3), (64, 16), (1000, 16)])
def test_tiles_leave_no_trace(noise, size, tile, overlap):
    pixels = noise(*size, 3)
    engine = Enlarge(scale_factor=2)
    sr = Upscaler(engine, tile_size=tile, overlap=overlap).upscale(pixels)
    np.testing.assert_array_equal(sr, pixels.repeat(2, 0).repeat(2, 1))
    assert engine.largest <= max(tile, 4 * overlap + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("img_channels", [1, 3, 4])
def test_depth_and_channels_are_kept(noise, dtype, channels, img_channels):
    pixels = np.maximum(noise(20, 50, channels, dtype=dtype), 1)  # nothing wholly transparent
    sr = Upscaler(Enlarge(3, img_channels), tile_size=16, overlap=2).upscale(pixels)
    assert sr.dtype == dtype
    expected = pixels.repeat(3, 0).repeat(3, 1)
    assert np.abs(sr.astype(int) - expected).max() <= (0 if dtype == np.uint8 else 1)


def test_gray_without_channel_axis_and_float(noise):
    assert Upscaler(Enlarge()).upscale(noise(5, 6)).shape == (20, 24)
    unit = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    np.testing.assert_allclose(
        Upscaler(Enlarge()).upscale(unit), unit.repeat(4, 0).repeat(4, 1), atol=1e-6
    )


def test_opaque_alpha_costs_nothing(noise):
    calls = []
    engine = Enlarge()
    upscaler = Upscaler(engine)
    image = Image(noise(8, 8, 3), alpha=np.full((8, 8), 255, np.uint8))
    result = upscaler.upscale_image(image, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 1)]
    assert result.alpha is not None
    assert result.alpha.shape == (32, 32)
    assert (result.alpha == 255).all()


def test_progress_counts_all_tiles_once(noise):
    calls = []
    image = Image(noise(100, 60, 3), alpha=noise(100, 60))
    Upscaler(Enlarge(), tile_size=32, overlap=4).upscale_image(
        image, lambda done, total: calls.append((done, total))
    )
    total = calls[0][1]
    assert calls == [(done, total) for done in range(1, total + 1)]


def test_profile_and_resolution_travel_along(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(8, 9, 3), dpi=300))
    target = Upscaler(Enlarge()).upscale_file(source, tmp_path / "b.tiff")
    result = read_image(target)
    assert (result.height, result.width) == (32, 36)
    assert result.dpi == pytest.approx(300, abs=1)


def test_shipped_model_beats_bicubic_and_shows_no_seams():
    hr = np.ascontiguousarray(chelsea()[40:296, 60:316])
    lr = imresize(hr, 1 / 4)
    whole = Upscaler(device="cpu", precision="fp32", tile_size=64)
    tiled = Upscaler(device="cpu", precision="fp32", tile_size=65)  # the least for this overlap
    tiled.tile_size, tiled._overlap = 40, 9
    sr = whole.upscale(lr)
    assert whole.scale_factor == 4
    difference = np.abs(sr.astype(int) - tiled.upscale(lr))
    assert difference.max() <= 1

    def psnr(image):
        a, b = (torch.from_numpy(x.transpose(2, 0, 1)[None] / 255) for x in (image, hr))
        return measure(a, b, 4)["psnr"]

    assert psnr(sr) > psnr(imresize(lr, 4.0)) + 0.5
    # No colour shift: means agree to within a third of a level.
    assert np.abs(sr.mean((0, 1)) - lr.mean((0, 1))).max() < 0.35


def test_half_precision_overflow_is_redone_in_fp32():
    network = RRDBNet(1, 3, 4, 4, 1)
    with torch.no_grad():
        for parameter in network.conv_last.parameters():
            parameter.fill_(1.0)

    class Overflowing(torch.nn.Module):
        def forward(self, x):
            out = network(x)
            return out * float("inf") if torch.is_autocast_enabled("cpu") else out

    backend = PyTorchBackend(Overflowing(), 1, 3, "cpu", "bf16")
    sr = backend(np.full((1, 3, 8, 8), 0.5, np.float32))
    assert np.isfinite(sr).all()


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"model": "compact-x5"}, ModelError, "compact-x4"),
        ({"model": "nowhere/a.pth"}, ModelError, "nowhere/a.pth"),
        ({"device": "gpu"}, DeviceError, "gpu"),
        ({"device": "cpu", "precision": "fp16"}, DeviceError, "fp16"),
        ({"device": "cpu", "precision": "int8"}, DeviceError, "int8"),
        ({"tile_size": 0}, ConfigError, "tile_size"),
        ({"overlap": -1}, ConfigError, "overlap"),
    ],
)
def test_impossible_settings_are_refused(kwargs, error, words):
    with pytest.raises(error, match=words):
        Upscaler(**kwargs)


def test_arrays_that_are_no_images_are_refused():
    upscaler = Upscaler(Enlarge())
    for array in (np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(3)):
        with pytest.raises(ImageError):
            upscaler.upscale(array)


def test_an_impossible_target_is_refused_before_the_work(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(4, 5000, 3)))
    engine = Enlarge(4)
    with pytest.raises(ImageError, match="WebP ends at 16383"):
        Upscaler(engine).upscale_file(source, tmp_path / "b.webp")
    assert engine.largest == 0


def test_a_device_out_of_memory_says_how_much_did_not_fit():
    class Large(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")

    with pytest.raises(DeviceMemoryError, match="9x8 pixels"):
        PyTorchBackend(Large(), 4, 3, "cpu")(np.zeros((1, 3, 8, 9), np.float32))
