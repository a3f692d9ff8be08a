"""The CUDA engine: what a CPU can check, and on a GPU the whole."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
import torch

import torch_sr
from torch_sr.errors import DeviceError, DeviceMemoryError, ModelError
from torch_sr.inference import engine_setup
from torch_sr.inference.engines import cuda, pytorch
from torch_sr.inference.engines.cuda import CudaEngine, GraphCache
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.look_ahead import map_ahead
from torch_sr.models.model import Model
from torch_sr.networks.rrdb import RRDBNet

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def rrdbnet():
    torch.manual_seed(0)
    return RRDBNet(4, 3, 8, 4, 1).eval()


def overflowing():
    """Features above 65504, which the last convolution makes small again."""
    network = rrdbnet()
    with torch.no_grad():
        network.conv_hr.weight *= 1e6
        network.conv_hr.bias.fill_(1e6)
        network.conv_last.weight *= 1e-6
    return network


def random_image(height=9, width=12):
    return np.random.default_rng(1).random((1, 3, height, width), dtype=np.float32)


def by_pytorch(network, lr):
    with torch.inference_mode():
        return network(torch.from_numpy(lr)).numpy()


class Stream:
    def record_event(self):
        return None


@pytest.fixture
def on_cpu(monkeypatch):
    """Start the engine on the CPU, without what only CUDA has."""
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(pytorch, "choose_precision", lambda name, device: name)
    monkeypatch.setattr(CudaEngine, "_send", lambda self, lr: torch.from_numpy(lr))
    monkeypatch.setattr(CudaEngine, "_receive", lambda self, results, computed: list(results))
    monkeypatch.setattr(cuda, "_record", record)
    return lambda network, precision: CudaEngine(network, 4, 3, "cpu", precision)


def record(forward, x, pool):
    """Like a CUDA graph: every replay overwrites the result of the one before."""
    held = forward(x)

    def replay(batch):
        return held.copy_(forward(batch))

    return replay


# The engine


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_computes_in_the_precision_and_returns_fp32(on_cpu, precision):
    engine, lr = on_cpu(rrdbnet(), precision), random_image()
    expected = by_pytorch(rrdbnet(), lr)
    for _ in range(3):  # plain, recorded, replayed
        found = engine(lr)
        assert found.dtype == np.float32
        most = np.abs(found - expected).max()
        assert most < {"fp32": 1e-6, "bf16": 1e-2, "fp16": 2e-3}[precision]
        assert most > 0 or precision == "fp32"
    assert engine.tiles_redone == 0
    assert engine.tile_area > 1


def test_an_overflow_is_recomputed_in_fp32(on_cpu):
    engine, lr = on_cpu(overflowing(), "fp16"), random_image()
    expected = by_pytorch(overflowing(), lr)
    for count in (1, 2, 3):
        assert np.allclose(engine(lr), expected, rtol=1e-4, atol=1e-5)
        assert engine.tiles_redone == count


def test_results_that_are_not_finite(on_cpu):
    network = rrdbnet()
    with torch.no_grad():
        network.conv_last.weight.fill_(float("nan"))
    for precision in ("fp32", "fp16"):
        with pytest.raises(ModelError, match="NaN or infinite"):
            on_cpu(network, precision)(random_image())


def test_graphs_are_freed_before_a_tile_does_not_fit(on_cpu, monkeypatch):
    engine, lr = on_cpu(rrdbnet(), "fp32"), random_image()
    engine(lr)
    expected = engine(lr)
    assert len(engine._graphs) == 1

    def fail(shape):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._graphs, "_remember", lambda shape, replay: fail(shape))
    assert np.array_equal(engine(lr), expected)
    assert len(engine._graphs) == 0
    with pytest.raises(DeviceMemoryError, match="not enough memory"):
        engine(lr)


@pytest.mark.parametrize("engine", ["auto", "torch", "cuda"])
def test_the_engine_is_chosen_by_name_only(monkeypatch, engine):
    started = []
    monkeypatch.setattr("torch_sr.devices.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(cuda, "CudaEngine", lambda *given, **options: started.append("cuda"))
    monkeypatch.setattr(pytorch, "PyTorchEngine", lambda *given, **options: started.append("torch"))
    engine_setup.start_engine(Model.from_network(rrdbnet()), "cuda", engine=engine)
    assert started == ["cuda" if engine == "cuda" else "torch"]


def test_another_network_is_refused(monkeypatch):
    monkeypatch.setattr("torch_sr.devices.choose_device", lambda name: torch.device("cuda"))
    model = Model.from_network(torch.nn.Upsample(scale_factor=2), scale_factor=2)
    with pytest.raises(
        DeviceError, match=r"engine cuda: use --engine torch; .* is another network"
    ):
        engine_setup.start_engine(model, "cuda", engine="cuda")


def test_another_device_is_refused():
    model = Model.from_network(rrdbnet())
    with pytest.raises(DeviceError, match="engine cuda: use --device cuda"):
        engine_setup.start_engine(model, "cpu", engine="cuda")


# Graphs


def test_a_size_is_recorded_when_it_comes_again():
    calls = []

    def counted(forward, x, pool):
        calls.append(tuple(x.shape))
        return record(forward, x, pool)

    graphs = GraphCache(lambda x: x + 1, counted)
    one, two = torch.zeros(1, 2), torch.zeros(3)
    assert (graphs(one).tolist(), calls) == ([[1, 1]], [])
    first = graphs(one)
    second = graphs(one + 1)
    assert (first.tolist(), second.tolist()) == ([[1, 1]], [[2, 2]])  # not overwritten
    graphs(two)
    assert (calls, len(graphs)) == ([(1, 2)], 1)


def test_few_graphs_are_kept():
    graphs = GraphCache(lambda x: x + 1, record)
    for size in range(1, 9):
        for _ in range(2):
            graphs(torch.zeros(size))
    assert len(graphs) == 4
    graphs.clear()
    assert len(graphs) == 0


def test_a_network_that_cannot_be_recorded():
    calls = []

    def fail(forward, x, pool):
        calls.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = GraphCache(lambda x: x + 1, fail)
    for _ in range(4):
        assert graphs(torch.zeros(2)).tolist() == [1, 1]
    assert calls == [1]


# Tiles that are started ahead


def test_results_come_in_order():
    def slow(number):
        time.sleep(0.02 * (number % 2 == 0))
        return number

    assert list(map_ahead(slow, range(7), 2)) == list(range(7))
    assert list(map_ahead(slow, range(3), 0)) == [0, 1, 2]
    assert list(map_ahead(slow, [], 2)) == []


def test_work_is_started_before_a_result_is_used():
    second = threading.Event()

    def wait(number):
        return second.set() if number else second.wait(10)

    assert list(map_ahead(wait, [0, 1], 2)) == [True, None]


def test_an_error_is_raised_where_the_result_is_used():
    def fail(number):
        if number == 1:
            raise ModelError("no luck")
        return number

    found = map_ahead(fail, range(5), 2)
    assert next(found) == 0
    with pytest.raises(ModelError, match="no luck"):
        next(found)


def test_pixels_do_not_depend_on_tiles_ahead(photo):
    class Ahead(PyTorchEngine):
        tiles_ahead = 2

    image = photo(40, 70, 4)
    found = []
    for kind in (PyTorchEngine, Ahead):
        upscaler = torch_sr.Upscaler(kind(rrdbnet(), 4, 3, "cpu"), tile_size=20)
        steps = []
        found.append(upscaler.upscale(image, progress=lambda *step, to=steps: to.append(step)))
        assert steps == [(number + 1, len(steps)) for number in range(len(steps))]
    assert np.array_equal(*found)


# On a GPU


@GPU
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(precision, photo):
    image = photo(150, 230)
    for name in ("compact-x4", "compact-x4-real"):
        expected = torch_sr.Upscaler(name, device="cpu").upscale(image).astype(int)
        upscaler = torch_sr.Upscaler(
            name, device="cuda", engine="cuda", precision=precision, tile_size=64
        )
        assert isinstance(upscaler._engine, CudaEngine)
        found = upscaler.upscale(image).astype(int)
        assert np.abs(found - expected).max() <= {"fp32": 1, "bf16": 24, "fp16": 4}[precision]
        assert len(upscaler._engine._graphs) > 0
        assert np.array_equal(upscaler.upscale(image), found)


@GPU
def test_an_overflow_on_a_gpu():
    engine, lr = CudaEngine(overflowing(), 4, 3, "cuda", "fp16"), random_image()
    expected = by_pytorch(overflowing(), lr)
    for count in (1, 2, 3):
        assert np.allclose(engine(lr), expected, rtol=1e-3, atol=1e-3)
        assert engine.tiles_redone == count


@GPU
def test_threads_share_a_gpu(photo):
    upscaler = torch_sr.Upscaler("compact-x4", device="cuda", engine="cuda", tile_size=48)
    images = [photo(60 + 10 * seed, 90, seed=seed) for seed in range(4)]
    expected = [upscaler.upscale(image) for image in images]
    found = list(map_ahead(upscaler.upscale, images * 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected * 3, strict=True))
