"""The ncnn engine: GPUs with a Vulkan driver (AMD, Intel, Apple, NVIDIA), and the CPU.

It computes RRDBNet and SRVGGNetCompact. The model is written as the two files of an ncnn model,
which ncnn loads; nothing of it stays on the disk.

Source: https://github.com/Tencent/ncnn
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import DeviceError, DeviceMemoryError, MissingExtraError, ModelError
from torch_sr.inference.engines.ncnn_memory import bytes_per_pixel
from torch_sr.machine import free_ram, usable_cpus
from torch_sr.models.files.ncnn.reading import weights_path
from torch_sr.models.files.ncnn.writing import (
    INPUT,
    OUTPUT,
    graph_of_compact,
    graph_of_rrdbnet,
    write_ncnn,
)
from torch_sr.networks.configs import CompactConfig, RRDBConfig

VULKAN = "vulkan"
PRECISIONS = ("auto", "fp32", "fp16")
_KINDS = ("discrete", "integrated", "virtual", "software")
"""What ncnn numbers from 0; a software driver computes on the CPU."""
_LARGEST_TILES = (
    512 * 2**20
)  # bytes; larger tiles are not faster, and may exceed a GPU's time limit
_GRAPH = "model.param"


@dataclass(frozen=True)
class VulkanDevice:
    """A device that Vulkan finds.

    Args:
        index: its number: ``vulkan:0``.
        name: as its driver reports it.
        kind: ``discrete``, ``integrated``, ``virtual`` or ``software``.
    """

    index: int
    name: str
    kind: str


@cache
def import_ncnn() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise MissingExtraError("ncnn", "ncnn") from error
    return ncnn


@cache
def vulkan_devices() -> tuple[VulkanDevice, ...]:
    """The devices that Vulkan finds; none without a driver.

    Raises:
        MissingExtraError: ncnn is not installed.
    """
    ncnn = import_ncnn()
    with _silenced():
        found = [ncnn.get_gpu_info(index) for index in range(ncnn.get_gpu_count())]
    kinds = dict(enumerate(_KINDS))
    return tuple(
        VulkanDevice(index, info.device_name(), kinds.get(info.type(), "virtual"))
        for index, info in enumerate(found)
    )


def choose_vulkan(device: str) -> VulkanDevice | None:
    """Resolve a device: None is the CPU.

    Args:
        device: ``auto`` (a GPU if there is one, otherwise the CPU), ``cpu``, ``vulkan`` (a GPU,
            otherwise a software driver) or ``vulkan:1``.

    Raises:
        DeviceError: there is no such device.
        MissingExtraError: ncnn is not installed.
    """
    import_ncnn()
    if device == "cpu":
        return None
    kind, _, number = device.partition(":")
    if device != "auto" and kind != VULKAN:
        raise DeviceError(f"device {device!r}: use cpu or {VULKAN}; ncnn has no other devices")
    found = sorted(vulkan_devices(), key=lambda each: _KINDS.index(each.kind))
    if device == "auto":
        found = [each for each in found if each.kind != "software"]
        return found[0] if found else None
    if number:
        found = [each for each in found if str(each.index) == number]
    if not found:
        there = ", ".join(f"{VULKAN}:{each.index} ({each.name})" for each in vulkan_devices())
        remedy = f"use {there}" if there else "install a Vulkan driver, or use cpu"
        raise DeviceError(f"device {device!r}: {remedy}; Vulkan does not find it")
    return found[0]


class NcnnEngine:
    """Runs RRDBNet or SRVGGNetCompact with ncnn.

    In fp32, results differ from PyTorch's by rounding only, less than 1e-5 for trained networks.

    Args:
        parameters: float32, under the names and in the shapes of ``config.shapes()``.
        config: the hyper-parameters of the network.
        device: see :func:`choose_vulkan`.
        precision: ``fp32``, ``fp16`` (numbers are stored in 16 bits between layers; sums are
            fp32), or ``auto``, which is fp32.
        threads: on the CPU; by default all that this process may use.

    Raises:
        DeviceError: the device or the precision is not available.
        DeviceMemoryError: the model does not fit into memory.
        MissingExtraError: ncnn is not installed.
    """

    def __init__(
        self,
        parameters: Mapping[str, Floats],
        config: RRDBConfig | CompactConfig,
        device: str = "auto",
        precision: str = "auto",
        *,
        threads: int | None = None,
    ) -> None:
        self.scale_factor = config.scale_factor
        self.img_channels = config.img_channels
        self.tiles_redone = 0
        self.vulkan = choose_vulkan(device)
        self.precision = _choose_precision(precision, self.vulkan)
        self._parameters = parameters
        self._config = config
        self._threads = threads or usable_cpus()
        self._multiple = config.pixel_unshuffle if isinstance(config, RRDBConfig) else 1
        self._lock = threading.RLock()  # one tile at a time: the device is busy anyway
        self._bytes_per_pixel = 0.0
        self._net = self._load(self.precision)
        self._exact_net: Any = None

    @property
    def device(self) -> str:
        """``cpu`` or ``vulkan:0``."""
        return "cpu" if self.vulkan is None else f"{VULKAN}:{self.vulkan.index}"

    @property
    def tiles_ahead(self) -> int:
        """How many tiles to start before results are used: a GPU need not wait for the CPU."""
        return 0 if self.vulkan is None else 1

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels per call for this device and its free memory.

        At most half of the memory that is free now is used.
        """
        room = min(self._free_memory() / 2, _LARGEST_TILES)
        return max(1, int(room / self._bytes_per_pixel))

    def __call__(self, lr: Floats) -> Floats:
        with self._lock:
            sr = self._compute(self._net, lr)
            if self.precision != "fp32" and not np.isfinite(sr).all():
                self.tiles_redone += 1  # half precision overflows on some images
                self._exact_net = self._exact_net or self._load("fp32")
                sr = self._compute(self._exact_net, lr)
        if not np.isfinite(sr).all():
            raise ModelError(
                "choose another model or an earlier checkpoint: from this image, the network "
                "computes NaN or infinite values"
            )
        return sr

    def _compute(self, net: Any, lr: Floats) -> Floats:
        """Run a network on images ``(N, C, H, W)``, one after another: ncnn has no batches."""
        height, width = (side * self.scale_factor for side in lr.shape[2:])
        padded = _pad_to(lr, self._multiple)
        return np.stack([self._run(net, image)[:, :height, :width] for image in padded])

    def _run(self, net: Any, image: Floats) -> Floats:
        """``(C, H, W)`` to ``(C, H * s, W * s)``."""
        if (sr := _extract(net, image)) is not None:
            return sr
        raise DeviceMemoryError(
            f"not enough memory on {self.device} for {image.shape[2]}x{image.shape[1]} pixels at "
            "once; free some, or choose a smaller model"
        )

    def _free_memory(self) -> float:
        """Bytes that are free on the device now."""
        if self.vulkan is None:
            return free_ram()
        ncnn = import_ncnn()
        own = ncnn.get_gpu_device(self.vulkan.index).get_heap_budget() * 2**20
        return float(own if self.vulkan.kind == "discrete" else min(own, free_ram()))

    def _load(self, precision: str) -> Any:
        """Write the model for ncnn, and load it in a precision."""
        with tempfile.TemporaryDirectory(prefix="torch-sr-") as folder:
            graph = Path(folder, _GRAPH)
            self._write(graph)
            self._bytes_per_pixel = bytes_per_pixel(
                graph.read_text(encoding="utf-8"), self.img_channels
            )
            with _silenced():
                net = _new_net(self.vulkan, self._threads, half=precision == "fp16")
                loaded = _load_files(net, graph)
        if not loaded:
            raise DeviceMemoryError(
                f"not enough memory on {self.device} for the model; free some, or choose a "
                "smaller one"
            )
        return net

    def _write(self, path: Path) -> None:
        if isinstance(self._config, RRDBConfig):
            graph = graph_of_rrdbnet(self._parameters, self._config)
        else:
            graph = graph_of_compact(self._parameters)
        write_ncnn(path, graph, half=False)


def open_files(graph: Path) -> Callable[[Floats], Floats]:
    """Load the two files of an ncnn model as they are, to run them on the CPU in fp32.

    Args:
        graph: the ``.param``.

    Returns:
        a function of an image ``(C, H, W)`` in [0, 1], whose sides the network takes.

    Raises:
        ModelError: ncnn cannot load them.
        MissingExtraError: ncnn is not installed.
    """
    net = _new_net(None, usable_cpus(), half=False)
    with _silenced():
        loaded = _load_files(net, graph)
    if not loaded:
        raise ModelError(f"{graph}: ncnn cannot load it")

    def run(image: Floats) -> Floats:
        if (sr := _extract(net, image)) is None:
            raise ModelError(f"{graph}: ncnn cannot run it")
        return sr

    return run


def _new_net(vulkan: VulkanDevice | None, threads: int, *, half: bool) -> Any:
    """An empty network for a device; on None, the CPU."""
    net = import_ncnn().Net()
    net.opt.use_vulkan_compute = vulkan is not None
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = half
    net.opt.use_fp16_arithmetic = False  # sums of hundreds of products lose too many digits
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = False
    if vulkan is not None:
        net.set_vulkan_device(vulkan.index)
    return net


def _load_files(net: Any, graph: Path) -> bool:
    """Load a ``.param`` and its ``.bin`` into a network; whether that worked."""
    return not (net.load_param(str(graph)) or net.load_model(str(weights_path(graph))))


def _extract(net: Any, image: Floats) -> Floats | None:
    """Run a network on an image ``(C, H, W)``; None if there is not enough memory."""
    try:
        extractor = net.create_extractor()
        extractor.input(INPUT, import_ncnn().Mat(np.ascontiguousarray(image)).clone())
        code, made = extractor.extract(OUTPUT)
    except (MemoryError, RuntimeError):
        return None
    return None if code or made.empty() else np.array(made, dtype=np.float32)


def _choose_precision(precision: str, vulkan: VulkanDevice | None) -> str:
    if precision not in PRECISIONS:
        raise DeviceError(f"precision {precision!r}: ncnn has {', '.join(PRECISIONS)}; use fp32")
    if precision == "fp16" and vulkan is None:
        raise DeviceError("precision fp16: not on a CPU; use fp32")
    return "fp32" if precision == "auto" else precision


def _pad_to(lr: Floats, multiple: int) -> Floats:
    """Pad at the bottom and right to a multiple, as RRDBNet does: mirrored, or repeated."""
    height, width = lr.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return lr
    mode: Literal["reflect", "edge"] = "reflect" if height > bottom and width > right else "edge"
    return np.pad(lr, ((0, 0), (0, 0), (0, bottom), (0, right)), mode=mode)


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what ncnn prints on stderr about every device."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
