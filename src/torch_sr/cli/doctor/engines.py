"""Which engines work on this machine, and how fast they are."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import numpy as np

from torch_sr.aliases import Array
from torch_sr.cli.doctor.machine import Card
from torch_sr.cli.doctor.packages import find_version, reinstall_command
from torch_sr.errors import DeviceError, MissingExtraError
from torch_sr.inference.engine_setup import start_engine
from torch_sr.inference.engines.native import NativeEngine, instruction_sets
from torch_sr.machine import may_have_gpu
from torch_sr.models.loading import load
from torch_sr.models.onnx.session import available_devices, import_onnxruntime

Status = Literal["available", "missing", "broken"]
MODEL, SIDE = "compact-x4", 96
"""The shipped model, and the side of the tile that engines are timed with."""
_ROUNDS = 3
_TOLERANCE = {"fp32": 1e-4, "fp16": 0.05}  # which is the default on CUDA
_SOFTWARE = ", software"


@dataclass(frozen=True)
class EngineRow:
    """An engine on a device.

    Args:
        engine: its name for ``--engine``.
        device: its name for ``--device``; empty unless it is available.
        version: of its package, or the instruction sets of the native engine.
        status: ``missing`` if it is not installed, ``broken`` if it is installed and does not work.
        note: why it is missing or broken, and the remedy; or the name of the device.
        seconds: for a tile of 96x96 pixels with the shipped model.
        automatic: whether ``--engine auto`` chooses it.
    """

    engine: str
    device: str
    version: str = ""
    status: Status = "available"
    note: str = ""
    seconds: float | None = None
    automatic: bool = False

    @property
    def megapixels_per_second(self) -> float | None:
        """Megapixels of the result in a second."""
        return None if self.seconds is None else (4 * SIDE) ** 2 / 1e6 / self.seconds


def find_engines(cards: Sequence[Card]) -> list[EngineRow]:
    """Every engine, on every device that it can use."""
    return [_native_row(), *_torch_rows(cards), *_ncnn_rows(cards), *_onnx_rows()]


def _native_row() -> EngineRow:
    if find_spec("torch_sr._native") is None:
        return EngineRow("native", "", status="missing", note=_how_to_compile())
    try:
        sets = instruction_sets()
    except DeviceError as error:
        return EngineRow(
            "native", "", status="broken", note=f"reinstall torch-sr; it does not load: {error}"
        )
    return EngineRow("native", "cpu", " ".join(sets))


def _how_to_compile() -> str:
    """Why the native engine is missing, and how to get it."""
    reinstall = reinstall_command()
    if any(map(shutil.which, ("c++", "g++", "clang++", "clang-cl"))):
        return f"not compiled when torch-sr was installed; run: {reinstall}"
    compilers = {
        "darwin": "xcode-select --install",
        "win32": "winget install LLVM.LLVM, and set CXX=clang-cl",
    }
    command = compilers.get(sys.platform, "sudo apt install g++")
    return f"there is no C++ compiler; run: {command}, then: {reinstall}"


def _torch_rows(cards: Sequence[Card]) -> Iterator[EngineRow]:
    try:
        import torch
    except (ImportError, OSError) as error:
        note = f"reinstall it; it does not load: {error}"
        if find_version("torch") is None:
            note = "run: pip install torch"
        yield EngineRow("torch", "", status="broken", note=note)
        return
    version = str(torch.__version__)
    yield EngineRow("torch", "cpu", version)
    own = [card for card in cards if card.device.startswith(("cuda", "mps"))]
    yield from (EngineRow("torch", card.device, version, note=card.name) for card in own)
    if not own and sys.platform != "darwin" and may_have_gpu():
        note = "PyTorch does not find the graphics card; install its CUDA or ROCm build"
        yield EngineRow("torch", "", version, "missing", note)


def _ncnn_rows(cards: Sequence[Card]) -> Iterator[EngineRow]:
    if (version := find_version("ncnn")) is None:
        yield EngineRow("ncnn", "", "", "missing", "run: pip install 'torch-sr[ncnn]'")
        return
    try:
        import ncnn  # noqa: F401
    except (ImportError, OSError) as error:
        note = f"reinstall it; it does not load: {error}"
        yield EngineRow("ncnn", "", version, "broken", note)
        return
    yield EngineRow("ncnn", "cpu", version)
    own = [card for card in cards if card.device.startswith("vulkan")]
    yield from (EngineRow("ncnn", card.device, version, note=card.name) for card in own)
    if not own:
        note = "there is no Vulkan driver; install that of the graphics card"
        yield EngineRow("ncnn", "", version, "missing", note)


def _onnx_rows() -> Iterator[EngineRow]:
    try:
        devices = available_devices()
    except MissingExtraError:
        yield EngineRow("onnx", "", "", "missing", "run: pip install 'torch-sr[onnx]'")
        return
    version = str(import_onnxruntime().__version__)
    yield from (EngineRow("onnx", device, version, note="for ONNX files") for device in devices)


def time_engines(rows: Sequence[EngineRow]) -> list[EngineRow]:
    """Time what is available, and compare the results with those of PyTorch on the CPU.

    Drivers that compute on the processor are left out: they take minutes.
    """
    lr = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    timed = [_timed(row, lr) for row in rows]
    results = {f"{row.engine} {row.device}": result for row, result in timed if result is not None}
    if not results:
        return [row for row, _ in timed]
    reference = results.get("torch cpu", next(iter(results.values())))
    return [row if result is None else _compared(row, result, reference) for row, result in timed]


def _timed(row: EngineRow, lr: Array) -> tuple[EngineRow, Array | None]:
    """The row with its time, and the result; None if there is none."""
    untimed = row.engine == "onnx"  # which would first need a file
    if row.status != "available" or untimed or row.note.endswith(_SOFTWARE):
        return row, None
    try:
        seconds, result = _time(row, lr)
    except Exception as error:  # an engine may fail in any way
        text = " ".join(str(error).split()) or type(error).__name__
        return replace(row, status="broken", note=f"fails: {text}"), None
    return replace(row, seconds=seconds), result


def _time(row: EngineRow, lr: Array) -> tuple[float, Array]:
    """Seconds for an image, without loading, and the result."""
    engine = start_engine(load(MODEL), row.device, engine=row.engine)
    result = engine(lr)  # the first call may allocate memory and compile
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        engine(lr)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def _compared(row: EngineRow, result: Array, reference: Array) -> EngineRow:
    """Report an engine as broken if its result differs from the reference."""
    most = float(np.abs(result - reference).max())
    if most <= _TOLERANCE["fp16" if row.device.startswith("cuda") else "fp32"]:
        return row
    note = f"update the driver, or use another engine; its results are wrong by up to {most:.2g}"
    return replace(row, status="broken", note=note)


def mark_automatic(rows: Sequence[EngineRow]) -> list[EngineRow]:
    """Mark the engine and the device that ``--engine auto --device auto`` chooses."""
    try:
        engine = start_engine(load(MODEL))
    except Exception:  # reported with the engine itself
        return list(rows)
    name = "native" if isinstance(engine, NativeEngine) else "torch"  # never ncnn
    device = str(getattr(engine, "device", "cpu"))
    chosen = (name, "cuda:0" if device == "cuda" else device)
    return [replace(row, automatic=(row.engine, row.device) == chosen) for row in rows]
