"""The shared engine of a device: equal tiles of several threads in one call, the same results."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving_kit import wait_until
from skimage.data import chelsea

from torch_sr import Upscaler
from torch_sr.errors import DeviceMemoryError
from torch_sr.inference.engines import native
from torch_sr.inference.engines.native import NativeEngine
from torch_sr.networks.configs import CompactConfig, RRDBConfig
from torch_sr.serving.batching import Device, SharedEngine


class RecordingEngine:
    """Doubles images; records the shapes it is called with, and can be held."""

    scale_factor = 2
    img_channels = 3
    tiles_redone = 0

    def __init__(self, tile_area=10_000):
        self.tile_area = tile_area
        self.shapes = []
        self.at_once = 0
        self.go = threading.Event()
        self.go.set()
        self._inside = threading.Lock()

    def __call__(self, lr):
        assert self._inside.acquire(blocking=False), "two calls at once"
        try:
            self.shapes.append(lr.shape)
            assert self.go.wait(10)
            return lr.repeat(2, 2).repeat(2, 3) * 2
        finally:
            self._inside.release()


class FailingEngine(RecordingEngine):
    """Cannot compute a batch with a negative value in it."""

    error = ValueError

    def __call__(self, lr):
        sr = super().__call__(lr)
        if (lr < 0).any():
            raise self.error("negative")
        return sr


def tile(value, height=4, width=5, number=1):
    return np.full((number, 3, height, width), value, np.float32)


def doubled(lr):
    return lr.repeat(2, 2).repeat(2, 3) * 2


def call_together(engine, shared, tiles):
    """Call from several threads while the engine is held by another tile; their results."""
    engine.go.clear()
    with ThreadPoolExecutor(len(tiles) + 1) as pool:
        first = pool.submit(shared, tile(0, 2, 2))
        wait_until(lambda: engine.shapes)
        rest = [pool.submit(shared, each) for each in tiles]
        wait_until(lambda: len(shared._waiting) == len(tiles))
        engine.go.set()
        first.result(10)
        return [each.exception(10) or each.result(10) for each in rest]


def test_equal_tiles_are_computed_in_one_call():
    engine, reports = RecordingEngine(), []
    shared = SharedEngine(engine, Device(), reports.append)
    tiles = [tile(0.1 * n) for n in range(5)]
    results = call_together(engine, shared, tiles)
    assert engine.shapes == [(1, 3, 2, 2), (5, 3, 4, 5)]
    assert reports == [1, 5]
    for lr, sr in zip(tiles, results, strict=True):
        np.testing.assert_array_equal(sr, doubled(lr))


def test_batches_of_several_tiles_are_joined_and_split_again():
    engine, reports = RecordingEngine(), []
    shared = SharedEngine(engine, Device(), reports.append)
    tiles = [tile(0.1 * n, number=n) for n in (1, 2, 3)]
    results = call_together(engine, shared, tiles)
    assert engine.shapes[1:] == [(6, 3, 4, 5)]
    assert reports == [1, 6]
    for lr, sr in zip(tiles, results, strict=True):
        np.testing.assert_array_equal(sr, doubled(lr))


def test_tiles_of_other_shapes_are_not_joined():
    engine = RecordingEngine()
    shared = SharedEngine(engine, Device())
    tiles = [tile(0.1), tile(0.2, 5, 4), tile(0.3)]
    results = call_together(engine, shared, tiles)
    assert sorted(engine.shapes[1:]) == [(1, 3, 5, 4), (2, 3, 4, 5)]
    for lr, sr in zip(tiles, results, strict=True):
        np.testing.assert_array_equal(sr, doubled(lr))


@pytest.mark.parametrize(("area", "batches"), [(20, [1, 1, 1, 1]), (59, [2, 2]), (60, [1, 3])])
def test_no_more_tiles_are_joined_than_fit(area, batches):
    engine = RecordingEngine(tile_area=area)
    shared = SharedEngine(engine, Device())
    call_together(engine, shared, [tile(0.1 * n) for n in range(4)])
    assert sorted(shape[0] for shape in engine.shapes[1:]) == batches


def test_a_tile_that_fails_does_not_fail_those_it_was_joined_with():
    engine, reports = FailingEngine(), []
    shared = SharedEngine(engine, Device(), reports.append)
    tiles = [tile(0.1), tile(-1), tile(0.3)]
    good, failed, other = call_together(engine, shared, tiles)
    assert isinstance(failed, ValueError)
    np.testing.assert_array_equal(good, doubled(tiles[0]))
    np.testing.assert_array_equal(other, doubled(tiles[2]))
    assert reports == [1, 1, 1]  # the first, and those that succeeded


def test_a_lack_of_memory_reaches_the_caller_who_makes_smaller_tiles():
    engine = FailingEngine()
    engine.error = DeviceMemoryError
    shared = SharedEngine(engine, Device())
    with pytest.raises(DeviceMemoryError):
        shared(tile(-1))
    np.testing.assert_array_equal(shared(tile(1)), doubled(tile(1)))


def test_the_device_is_free_after_an_interrupt():
    class Interrupted(RecordingEngine):
        def __call__(self, lr):
            super().__call__(lr)
            if lr[0, 0, 0, 0] < 0:
                raise KeyboardInterrupt
            return doubled(lr)

    shared = SharedEngine(Interrupted(), Device())
    with pytest.raises(KeyboardInterrupt):
        shared(tile(-1))
    np.testing.assert_array_equal(shared(tile(1)), doubled(tile(1)))


def test_many_threads_and_two_models_on_a_device():
    device = Device()
    inside = threading.Lock()

    class Exclusive(RecordingEngine):
        def __call__(self, lr):
            assert inside.acquire(blocking=False), "two models at once"
            try:
                return super().__call__(lr)
            finally:
                inside.release()

    engines = [SharedEngine(Exclusive(), device), SharedEngine(Exclusive(), device)]
    rng = np.random.default_rng(0)
    tiles = [tile(n, *rng.integers(1, 4, 2), number=int(rng.integers(1, 3))) for n in range(400)]
    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(engines[n % 2], each) for n, each in enumerate(tiles)]
        results = [future.result(20) for future in futures]
    for lr, sr in zip(tiles, results, strict=True):
        np.testing.assert_array_equal(sr, doubled(lr))


def test_it_has_the_properties_of_its_engine():
    engine = RecordingEngine()
    shared = SharedEngine(engine, Device())
    engine.tile_area, engine.tiles_redone = 77, 3
    found = (shared.scale_factor, shared.img_channels, shared.tile_area, shared.tiles_redone)
    assert found == (2, 3, 77, 3)


def native_engine(architecture):
    if not native.is_available():
        pytest.skip("torch_sr._native is not built")
    if architecture == "rrdb":
        config = RRDBConfig(4, 3, 16, 8, 1, 3, 5, 0.2, False, 1)
    else:
        config = CompactConfig(4, 3, 16, 4)
    rng = np.random.default_rng(0)
    parameters = {
        name: rng.normal(scale=1 / max(1, np.prod(shape[1:])) ** 0.5, size=shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    return NativeEngine(parameters, config, threads=1)


@pytest.mark.parametrize("architecture", ["rrdb", "compact"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (24, 31)])
def test_results_of_the_native_engine_do_not_depend_on_the_batch(architecture, height, width):
    engine = native_engine(architecture)
    lr = np.random.default_rng(1).random((5, 3, height, width), dtype=np.float32)
    alone = [engine(each[None]) for each in lr]
    for number in (2, 3, 5):
        np.testing.assert_array_equal(engine(lr[:number]), np.concatenate(alone[:number]))


@pytest.mark.parametrize("tta", [False, True])
def test_images_that_are_upscaled_together_equal_those_that_are_upscaled_alone(tta):
    engine, reports = native_engine("rrdb"), []
    shared = SharedEngine(engine, Device(), reports.append)
    photo = chelsea()[:120, :150]
    images = [photo[20 * n : 20 * n + 20, 30:52] for n in range(6)]
    alone = [Upscaler(engine, tile_size=16, tta=tta).upscale(image) for image in images]
    upscaler = Upscaler(engine, tile_size=16, tta=tta, wrap_engine=lambda _: shared)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(upscaler.upscale, images))
    assert max(reports) > 1, "no tiles were joined"
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
