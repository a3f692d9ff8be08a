"""The upscaler: invisible tiles, every kind of image, and what it refuses."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pyvips
import tifffile
import torch
from PIL import Image as Pillow
from PIL import ImageCms
from skimage.data import chelsea
from torch import nn

from torch_sr.data.resize import imresize
from torch_sr.errors import ConfigError, DeviceError, DeviceMemoryError, ImageError, ModelError
from torch_sr.images import (
    Header,
    Image,
    ImageReader,
    Metadata,
    convert,
    read_image,
    to_unit,
    write_image,
)
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.transparency import bleed
from torch_sr.inference.upscaler import Upscaler
from torch_sr.metrics import measure
from torch_sr.networks.rrdb import RRDBNet


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


class EnlargeModule(nn.Module):
    """An engine that is an nn.Module as well."""

    tile_area = 32 * 32
    tiles_redone = 0

    def __init__(self):
        super().__init__()
        self.scale_factor, self.img_channels = 2, 3

    def forward(self, lr):
        assert isinstance(lr, np.ndarray)
        return lr.repeat(2, 2).repeat(2, 3)


@pytest.fixture
def noise():
    return lambda *shape, dtype=np.uint8: np.random.default_rng(0).integers(
        0, np.iinfo(dtype).max + 1, shape, dtype=dtype
    )


def test_an_engine_may_be_a_module(noise):
    pixels = noise(9, 40, 3)
    upscaler = Upscaler(EnlargeModule(), overlap=1)
    assert upscaler.info is None
    np.testing.assert_array_equal(upscaler.upscale(pixels), pixels.repeat(2, 0).repeat(2, 1))
    with pytest.raises(ModelError, match="the engine has its own"):
        Upscaler(EnlargeModule(), scale_factor=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (31, 33), (100, 257), (7, 1000)])
@pytest.mark.parametrize(("tile", "overlap"), [(1, 0), (16, 0), (40, 3), (64, 16), (1000, 16)])
def test_tiles_are_not_visible(noise, size, tile, overlap):
    pixels = noise(*size, 3)
    engine = Enlarge(scale_factor=2)
    sr = Upscaler(engine, tile_size=tile, overlap=overlap).upscale(pixels)
    np.testing.assert_array_equal(sr, pixels.repeat(2, 0).repeat(2, 1))
    assert engine.largest <= max(tile, 4 * overlap + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("img_channels", [1, 3, 4])
def test_depth_and_channels_are_kept(noise, dtype, channels, img_channels):
    pixels = np.maximum(noise(20, 50, channels, dtype=dtype), 1)  # nothing fully transparent
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
    result = upscaler.upscale(image, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 1)]
    assert result.alpha is not None
    assert result.alpha.shape == (32, 32)
    assert (result.alpha == 255).all()


def test_progress_counts_all_tiles_once(noise):
    calls = []
    image = Image(noise(100, 60, 3), alpha=noise(100, 60))
    Upscaler(Enlarge(), tile_size=32, overlap=4).upscale(
        image, lambda done, total: calls.append((done, total))
    )
    total = calls[0][1]
    assert calls == [(done, total) for done in range(1, total + 1)]


def test_profile_and_resolution_are_kept(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(8, 9, 3), metadata=Metadata(dpi=300)))
    target = Upscaler(Enlarge()).upscale_file(source, tmp_path / "b.tiff")
    result = read_image(target)
    assert (result.height, result.width) == (32, 36)
    assert result.metadata.dpi == pytest.approx(300, abs=1)


def test_shipped_model_beats_bicubic_and_shows_no_seams():
    hr = np.ascontiguousarray(chelsea()[40:296, 60:316])
    lr = imresize(hr, 1 / 4)
    faithful = {"model": "compact-x4", "device": "cpu", "precision": "fp32"}
    whole = Upscaler(**faithful, tile_size=64)
    tiled = Upscaler(**faithful, tile_size=65)  # the least for this overlap
    tiled.tile_size, tiled._overlap = 40, 9
    sr = whole.upscale(lr)
    assert whole.scale_factor == 4
    difference = np.abs(sr.astype(int) - tiled.upscale(lr))
    assert difference.max() <= 1

    def psnr(image):
        a, b = (torch.from_numpy(x.transpose(2, 0, 1)[None] / 255) for x in (image, hr))
        return measure(a, b, 4)["psnr"]

    assert psnr(sr) > psnr(imresize(lr, 4.0)) + 0.5
    # No color shift: means agree to within a third of a level.
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

    engine = PyTorchEngine(Overflowing(), 1, 3, "cpu", "bf16")
    sr = engine(np.full((1, 3, 8, 8), 0.5, np.float32))
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


def test_arrays_that_are_not_images_are_refused():
    upscaler = Upscaler(Enlarge())
    for array in (np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(3)):
        with pytest.raises(ImageError):
            upscaler.upscale(array)


def test_an_impossible_target_is_refused_before_the_work(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(4, 5000, 3)))
    engine = Enlarge(4)
    with pytest.raises(ImageError, match="WebP holds 16383"):
        Upscaler(engine).upscale_file(source, tmp_path / "b.webp")
    assert engine.largest == 0


def test_a_device_out_of_memory_says_how_much_did_not_fit():
    class Large(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")

    with pytest.raises(DeviceMemoryError, match="9x8 pixels"):
        PyTorchEngine(Large(), 4, 3, "cpu")(np.zeros((1, 3, 8, 9), np.float32))


# --- Seams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_tiles_of_any_shape_are_not_visible(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(2 ** rng.uniform(0, 8)) for _ in "hw")
    layers = int(rng.integers(1, 5))
    engine = Enlarge(scale_factor=int(rng.integers(1, 5)), img_channels=int(rng.choice([1, 3, 4])))
    engine.tile_area = int(2 ** rng.uniform(0, 14))
    pixels = rng.integers(1, 256, (height, width, layers), dtype=np.uint8)
    sr = Upscaler(engine, overlap=int(rng.integers(0, 20))).upscale(pixels)
    scale = engine.scale_factor
    np.testing.assert_array_equal(sr, pixels.repeat(scale, 0).repeat(scale, 1))


class Blur(Enlarge):
    """An engine whose context is exactly `reach` pixels: a mean over a square."""

    def __init__(self, reach):
        super().__init__(scale_factor=1)
        self.tile_area = 64 * 64
        self.reach = reach

    def __call__(self, lr):
        size = 2 * self.reach + 1
        return torch.nn.functional.avg_pool2d(torch.from_numpy(lr), size, 1, self.reach).numpy()


@pytest.mark.parametrize("reach", [0, 1, 5, 12])
def test_the_overlap_that_a_network_needs_is_measured(noise, reach):
    pixels = noise(200, 190, 3)
    tiled = Upscaler(Blur(reach))
    assert reach * 2 / 3 <= tiled.overlap <= 2 * reach + 4
    whole = Blur(reach)
    whole.tile_area = 10**6
    difference = np.abs(tiled.upscale(pixels).astype(int) - Upscaler(whole).upscale(pixels))
    assert difference.max() <= 1


def test_a_network_with_global_context_gets_the_largest_overlap():
    class Everywhere(Blur):
        def __call__(self, lr):
            return lr * 0.5 + lr.mean((2, 3), keepdims=True)

    assert Upscaler(Everywhere(0)).overlap == 40


# --- Memory -------------------------------------------------------------------------------------


def test_tiles_are_halved_until_they_fit(noise):
    class Small(Enlarge):
        tile_area = 10**6

        def __call__(self, lr):
            if lr.shape[2] * lr.shape[3] > 1000:
                raise DeviceMemoryError("too much")
            return super().__call__(lr)

    pixels = noise(150, 130, 3)
    upscaler = Upscaler(Small(2), overlap=3)
    np.testing.assert_array_equal(upscaler.upscale(pixels), pixels.repeat(2, 0).repeat(2, 1))
    calls = []
    upscaler.upscale(pixels, lambda done, total: calls.append(total))
    assert calls[0] > 15  # what did not fit is not tried again


def test_a_tile_that_never_fits_is_an_error(noise):
    class Full(Enlarge):
        def __call__(self, lr):
            raise DeviceMemoryError("cpu has not enough memory")

    with pytest.raises(DeviceMemoryError, match="not enough memory"):
        Upscaler(Full(), overlap=4).upscale(noise(90, 90, 3))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("could not create a memory object"),
        MemoryError(),
    ],
)
def test_every_out_of_memory_error_is_recognized(error):
    class Large(torch.nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(DeviceMemoryError):
        PyTorchEngine(Large(), 4, 3, "cpu")(np.zeros((1, 3, 8, 9), np.float32))


def test_other_errors_of_a_network_are_not_memory_errors():
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        PyTorchEngine(Broken(), 4, 3, "cpu")(np.zeros((1, 3, 8, 9), np.float32))


def test_tiles_shrink_with_free_memory(monkeypatch):
    engine = PyTorchEngine(RRDBNet(4, 3, 8, 4, 1), 4, 3, "cpu")
    areas = []
    for free in (2**24, 2**26, 2**40):
        monkeypatch.setattr("torch_sr.inference.engines.pytorch.free_memory", lambda _, f=free: f)
        areas.append(engine.tile_area)
    assert areas[0] * 4 == pytest.approx(areas[1], abs=4)
    assert areas[1] < areas[2] < 2**30


# --- Arrays, tensors, images --------------------------------------------------------------------


def test_a_batch_is_computed_in_one_pass(noise):
    engine = Enlarge(2)
    calls = []
    batch = np.maximum(noise(5, 20, 30, 4), 1)
    sr = Upscaler(engine).upscale(batch, lambda *numbers: calls.append(numbers))
    np.testing.assert_array_equal(sr, batch.repeat(2, 1).repeat(2, 2))
    assert Upscaler(engine, tile_size=16, overlap=2).upscale(batch).tolist() == sr.tolist()


def test_16_bit_pillow_images_stay_16_bit(noise):
    gray = noise(6, 7).astype(np.uint16) * 250
    swapped = Pillow.frombytes("I;16B", (7, 6), gray.astype(">u2").tobytes())
    for image in (Pillow.fromarray(gray), swapped):
        sr = Upscaler(Enlarge(2)).upscale(image)
        assert sr.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(sr), gray.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_tensors_keep_their_shape_and_type(dtype):
    image = torch.rand(3, 6, 7) if dtype.is_floating_point else torch.randint(0, 256, (3, 6, 7))
    image = image.to(dtype)
    for given in (image, image[None], image[:1]):
        sr = Upscaler(Enlarge(2)).upscale(given)
        wanted = given.repeat_interleave(2, -1).repeat_interleave(2, -2)
        assert sr.dtype == dtype
        torch.testing.assert_close(sr, wanted)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK"])
def test_pillow_images_stay_pillow_images(mode):
    image = Pillow.fromarray(np.full((6, 7, 3), (250, 10, 10), np.uint8)).convert(mode)
    sr = Upscaler(Enlarge(2)).upscale(image)
    assert sr.size == (14, 12)
    assert sr.mode == {"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)


def test_other_objects_are_refused():
    for thing in ([[1, 2]], torch.zeros(5), torch.zeros(5, 8, 8), np.zeros((1, 1, 1, 1, 1))):
        with pytest.raises(ImageError):
            Upscaler(Enlarge()).upscale(thing)


@pytest.mark.parametrize(
    "floats",
    [
        np.array([[0, 255.0]], np.float32),
        np.array([[0.5, np.nan]], np.float32),
        np.array([[0.5, np.inf]], np.float32),
        np.array([[-1.0, 1.0]]),
        np.array([[-0.5, 0.5]], np.float32),
        torch.full((3, 4, 4), 128.0),
    ],
)
def test_floats_far_outside_the_unit_range_are_refused(floats):
    with pytest.raises(ImageError, match=r"\[0, 1\]|NaN"):
        Upscaler(Enlarge()).upscale(floats)


def test_arrays_of_foreign_byte_order_are_read(noise):
    image = noise(8, 9).astype(np.uint16) * 257
    expected = Upscaler(Enlarge(2)).upscale(image)
    sr = Upscaler(Enlarge(2)).upscale(image.astype(">u2"))
    np.testing.assert_array_equal(sr, expected)


@pytest.mark.parametrize(
    ("mode", "expected"), [("La", "LA"), ("LA", "LA"), ("PA", "RGBA"), ("RGBa", "RGBA")]
)
def test_alpha_of_every_pillow_mode_is_kept(mode, expected):
    assert Upscaler(Enlarge(2)).upscale(Pillow.new(mode, (4, 3))).mode == expected


def test_a_transparent_color_of_a_pillow_image_becomes_alpha():
    image = Pillow.new("RGB", (4, 3), (7, 8, 9))
    image.info["transparency"] = (7, 8, 9)
    sr = Upscaler(Enlarge(2)).upscale(image)
    assert sr.mode == "RGBA"
    assert not np.asarray(sr)[..., 3].any()


def test_a_pillow_image_in_lab_becomes_rgb():
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    color = Pillow.new("RGB", (4, 3), (200, 60, 50))
    sr = Upscaler(Enlarge(2)).upscale(ImageCms.profileToProfile(color, srgb, lab, outputMode="LAB"))
    assert sr.mode == "RGB"
    np.testing.assert_allclose(np.asarray(sr)[0, 0], (200, 60, 50), atol=2)


def test_an_overshoot_is_clipped_and_other_precisions_come_back():
    sr = Upscaler(Enlarge(2)).upscale(np.array([[-0.1, 1.2]]))
    assert sr.dtype == np.float64
    np.testing.assert_array_equal(sr, [[0, 0, 1, 1]] * 2)
    assert Upscaler(Enlarge(2)).upscale(np.ones((2, 2), np.float16)).dtype == np.float16


def test_bytes_files_and_lists_are_accepted(tmp_path, noise):
    pixels = noise(5, 6, 3)
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    upscaler = Upscaler(Enlarge(2))
    expected = pixels.repeat(2, 0).repeat(2, 1)
    with (tmp_path / "a.png").open("rb") as file:
        given = [content, bytearray(content), io.BytesIO(content), file, tmp_path / "a.png"]
        for sr in upscaler.upscale(given):
            np.testing.assert_array_equal(sr.to_array(), expected)
    np.testing.assert_array_equal(upscaler.upscale([pixels])[0], expected)
    assert upscaler.upscale([]) == []


def test_bytes_that_are_not_an_image_are_refused_without_a_path():
    with pytest.raises(ImageError, match=r"^the image: ") as caught:
        Upscaler(Enlarge()).upscale(b"no image at all, only some text")
    assert "torch-sr-" not in str(caught.value)
    with pytest.raises(ImageError, match="binary"):
        Upscaler(Enlarge()).upscale(io.StringIO("text"))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pillow_images_of_unknown_white_are_refused(mode):
    with pytest.raises(ImageError, match=mode):
        Upscaler(Enlarge()).upscale(Pillow.new(mode, (3, 3), 7))


# --- Transparency -------------------------------------------------------------------------------


def test_no_dark_fringe_around_what_is_transparent():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (250, 200, 150, 255)
    sr = Upscaler("compact-x4", device="cpu").upscale(pixels)
    seen = sr[..., 3] > 0
    assert np.abs(sr[seen][:, :3].astype(int) - (250, 200, 150)).max() <= 6
    assert (sr[44:116, 44:116, 3] == 255).all()
    rows, columns = np.nonzero(seen)  # no halo beyond the next pixel of the source
    assert min(rows.min(), columns.min()) >= 36
    assert max(rows.max(), columns.max()) < 124


def test_bleeding_takes_the_nearest_visible_colors():
    layers = np.zeros((3, 60, 4), np.uint8)
    layers[:, 20] = (200, 100, 50, 255)
    layers[:, 25] = (100, 200, 250, 1)
    bled = bleed(layers)
    np.testing.assert_array_equal(bled[..., 3], layers[..., 3])
    np.testing.assert_array_equal(bled[1, 19, :3], (200, 100, 50))
    np.testing.assert_array_equal(bled[1, 25, :3], (100, 200, 250))
    assert bled[1, 20 - 16, 0] == 200
    assert bled[1, 25 + 17, 0] == 0
    assert bleed(layers[:, :20]) is not None


def test_bleeding_is_the_same_in_tiles():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (120, 90, 4), dtype=np.uint8)
    pixels[..., 3][rng.random((120, 90)) < 0.9] = 0
    whole = Upscaler(Enlarge(2), tile_size=500, border=3).upscale(pixels)
    np.testing.assert_array_equal(
        Upscaler(Enlarge(2), tile_size=30, overlap=3).upscale(pixels)[:, :, 3], whole[:, :, 3]
    )
    rows_only = Upscaler(Enlarge(2), overlap=3)
    rows_only._max_area = 90 * 20
    np.testing.assert_array_equal(rows_only.upscale(pixels), whole)


# --- Self-ensemble ------------------------------------------------------------------------------


def test_the_ensemble_calls_the_engine_eight_times_and_turns_back(noise):
    seen = []

    class Note(Enlarge):
        def __call__(self, lr):
            seen.append(lr.copy())
            return super().__call__(lr)

    pixels = noise(5, 7, 3)
    sr = Upscaler(Note(2), tta=True, overlap=1).upscale(pixels)
    np.testing.assert_array_equal(sr, pixels.repeat(2, 0).repeat(2, 1))
    assert len({lr.tobytes() for lr in seen}) == 8


def test_the_ensemble_is_no_worse():
    hr = np.ascontiguousarray(chelsea()[40:168, 60:188])
    lr = imresize(hr, 1 / 4)
    errors = [
        float(
            (
                (Upscaler("compact-x4", device="cpu", tta=tta).upscale(lr).astype(float) - hr) ** 2
            ).mean()
        )
        for tta in (False, True)
    ]
    assert errors[1] < errors[0]


# --- Files --------------------------------------------------------------------------------------


def test_a_file_gives_the_same_as_its_pixels(tmp_path, noise):
    pixels = noise(70, 50, 3, dtype=np.uint16)
    source = write_image(tmp_path / "a.png", Image(pixels))
    upscaler = Upscaler(Enlarge(2), tile_size=20, overlap=2)
    result = read_image(upscaler.upscale_file(source, tmp_path / "b.tif"))
    np.testing.assert_array_equal(result.color, upscaler.upscale(pixels))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_frame_by_frame(tmp_path, suffix):
    frames = [Pillow.new("RGB", (12, 10), color) for color in ("red", "lime", "blue")]
    source = tmp_path / "a.gif"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=[50, 100, 150], loop=3)
    calls = []
    target = Upscaler(Enlarge(2)).upscale_file(
        source, tmp_path / f"b{suffix}", lambda *numbers: calls.append(numbers)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    with Pillow.open(target) as result:
        assert (result.n_frames, result.size) == (3, (24, 20))
        shown = []
        for number in range(3):
            result.seek(number)
            color = result.convert("RGB").getpixel((12, 10))  # which decodes the frame
            shown.append((result.info["duration"], color))
    assert [duration for duration, _ in shown] == [50, 100, 150]
    wanted = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert np.abs(np.array([color for _, color in shown]) - wanted).max() <= 3


def test_resampled_frames_do_not_run_into_each_other(tmp_path):
    frames = [Pillow.new("RGB", (12, 10), color) for color in ("white", "black")]
    source = tmp_path / "a.gif"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=50)
    target = Upscaler(Enlarge(4)).upscale_file(
        source, tmp_path / "b.gif", size=lambda h, w: (h * 3 // 2, w * 3 // 2)
    )
    with Pillow.open(target) as result:
        assert result.size == (18, 15)
        for number, value in enumerate((255, 0)):
            result.seek(number)
            assert np.unique(np.asarray(result.convert("L"))).tolist() == [value]


def test_documents_page_by_page(tmp_path, noise):
    pages = noise(3, 20, 30, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    target = Upscaler(Enlarge(2)).upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    with ImageReader(target, pages=True) as reader:
        assert (reader.header.pages, reader.header.depth, reader.header.channels) == (3, 16, 1)
        for page in pages:
            np.testing.assert_array_equal(reader.read(40)[..., 0], page.repeat(2, 0).repeat(2, 1))


def test_pages_of_different_size_and_depth_keep_them(tmp_path, noise):
    pages = [
        noise(20, 30),
        noise(30, 20, 3),
        noise(9, 40, dtype=np.uint16),
        noise(7, 5, 4) | 1,
        noise(8, 6, 3).astype(np.float32) * np.float32(1.3) - 9,
    ]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, page in enumerate(pages):
            extra = ("unassalpha",) if page.shape[2:] == (4,) else None
            kind = "rgb" if page.ndim == 3 else "minisblack"
            file.write(page, photometric=kind, extrasamples=extra, resolution=(100 + number,) * 2)
    calls, notes = [], []
    target = Upscaler(Enlarge(2)).upscale_file(
        tmp_path / "a.tif",
        tmp_path / "b.tif",
        lambda *numbers: calls.append(numbers),
        on_note=notes.append,
    )
    with tifffile.TiffFile(tmp_path / "b.tif") as result:
        count = len(result.pages)
        resolutions = [page.tags["XResolution"].value[0] for page in result.pages]
    found = [np.asarray(pyvips.Image.tiffload(str(target), page=n)) for n in range(count)]
    assert count == len(pages)
    for page, wanted in zip(found, pages, strict=True):
        assert page.dtype == wanted.dtype
        np.testing.assert_allclose(page, wanted.repeat(2, 0).repeat(2, 1), rtol=1e-6, atol=1e-4)
    assert len(set(resolutions)) == len(pages)
    assert (calls[-1][0] == calls[-1][1], notes) == (True, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]
    with Pillow.open(tmp_path / "b.tif") as image:  # by another reader of directories
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image), found[1])


def test_only_the_first_of_different_pages_fits_a_target_of_one_size(tmp_path, noise):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise(20, 30, 3), photometric="rgb")
        file.write(noise(30, 20, 3), photometric="rgb")
    notes = []
    Upscaler(Enlarge(2)).upscale_file(tmp_path / "a.tif", tmp_path / "b.webp", on_note=notes.append)
    assert read_image(tmp_path / "b.webp").height == 40
    assert ["the first of 2 pages was kept" in note for note in notes] == [True]


def test_each_page_is_resampled_to_its_own_size(tmp_path, noise):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise(20, 30))
        file.write(noise(30, 10))
    Upscaler(Enlarge(4)).upscale_file(
        tmp_path / "a.tif", tmp_path / "b.tif", size=lambda h, w: (3 * h, 3 * w)
    )
    with tifffile.TiffFile(tmp_path / "b.tif") as result:
        assert [page.shape for page in result.pages] == [(60, 90), (90, 30)]


def test_a_page_that_fails_leaves_nothing(tmp_path, noise):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise(20, 30))
        file.write(noise(30, 20).astype(np.complex64))
    with pytest.raises(ImageError, match=r"a\.tif: .*64-bit complex samples are not supported"):
        Upscaler(Enlarge(2)).upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_smaller_copies_are_not_pages_but_smaller_pages_are(tmp_path, noise):
    for kind, pages in ((1, 1), (0, 2)):
        with tifffile.TiffWriter(tmp_path / "p.tif") as file:
            file.write(noise(40, 40))
            file.write(noise(20, 20), subfiletype=kind)
        notes = []
        Upscaler(Enlarge(2)).upscale_file(
            tmp_path / "p.tif", tmp_path / "b.tif", on_note=notes.append, overwrite=True
        )
        with tifffile.TiffFile(tmp_path / "b.tif") as result:
            assert [page.shape for page in result.pages] == [(80, 80), (40, 40)][:pages]
        assert len(notes) == 2 - pages


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resampling_after_the_network(tmp_path, dtype, alpha):
    y, x = np.mgrid[0:30, 0:40] / 60
    ramp = np.stack([x, y, x * 0 + 0.5], axis=2).astype(np.float32)
    opacity = np.ones((30, 40), np.float32) if alpha else None
    image = Image(convert(ramp, dtype), None if opacity is None else convert(opacity, dtype))
    source = write_image(tmp_path / "a.tif", image)
    target = Upscaler(Enlarge(4)).upscale_file(
        source, tmp_path / "b.tif", size=lambda h, w: (45, 60)
    )
    result = read_image(target)
    assert result.color.shape == (45, 60, 3)
    assert result.color.dtype == dtype
    y, x = (np.mgrid[0:45, 0:60] + 0.5) / 1.5
    wanted = np.stack([(x - 0.5) / 60, (y - 0.5) / 60, x * 0 + 0.5], axis=2)
    inside = np.abs(to_unit(result.color) - wanted)[4:-4, 4:-4]
    assert inside.max() < 0.015
    if alpha:
        assert (to_unit(result.alpha) > 0.999).all()


def test_camera_metadata_is_kept_and_corrected(tmp_path, noise):
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 30, 20
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" note="kept"/></x:xmpmeta>'
    Pillow.fromarray(noise(20, 30, 3)).save(tmp_path / "a.jpg", exif=exif, xmp=xmp)
    target = Upscaler(Enlarge(2)).upscale_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Pillow.open(target) as result:
        assert result.size == (40, 60)
        found = result.getexif()
        assert (found[0x010F], found[0x0112]) == ("Maker", 1)
        assert found.get_ifd(0x8769)[0xA002] == 40
        assert found.get_ifd(0x8769)[0xA003] == 60
        assert b'tiff:Orientation="1" note="kept"' in result.info["xmp"]


def test_a_source_that_fails_half_way_is_named_and_leaves_no_file(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(300, 300, 3)))
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(ImageError) as caught:
        Upscaler(Enlarge(2), tile_size=50, overlap=2).upscale_file(source, tmp_path / "b.png")
    assert str(caught.value).startswith(str(source))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_interrupt_between_tiles_leaves_nothing(tmp_path, noise):
    source = write_image(tmp_path / "a.png", Image(noise(100, 100, 3)))

    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Upscaler(Enlarge(2), tile_size=30, overlap=2).upscale_file(
            source, tmp_path / "b.png", interrupt
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_memory_does_not_grow_with_the_height(tmp_path):
    """The rows held in memory: a strip of the source, a band of the result."""
    header = Header(20_000, 64, 3, 8, False)
    held = []

    def read(rows):
        held.append(rows)
        return np.zeros((1, rows, 64, 3), np.uint8)

    upscaler = Upscaler(Enlarge(2), tile_size=100, overlap=4)
    bands = [band.shape for band in upscaler.bands(header, read)]
    assert max(held) <= 100
    assert sum(shape[1] for shape in bands) == 40_000
    assert max(shape[1] for shape in bands) <= 200


def test_one_upscaler_serves_several_threads(noise):
    upscaler = Upscaler("compact-x4", device="cpu", tile_size=66)
    images = [noise(70, 80 + n, 3) for n in range(4)]
    alone = [upscaler.upscale(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(upscaler.upscale, images), strict=True):
            np.testing.assert_array_equal(one, other)
