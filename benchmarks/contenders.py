"""The programs that compute a network in :mod:`inference`, each in a process of its own."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Compute = Callable[[Floats], Floats]
Start = Callable[[str, int, tuple[int, ...], Path], Compute]

PAUSE = 0.5
"""Seconds before each call: threads of the process before it may still wait actively for work."""

BASELINES = {"cpu": "eager", "cuda": "eager-cuda"}
"""The plain graph, which the others are compared with."""


def work(pipe: Connection, name: str, model: str, threads: int, lr: Floats, folder: Path) -> None:
    """Compute an image whenever the parent asks for it, and report seconds.

    The first message is the result and the peak memory, or what went wrong.
    """
    try:
        compute = CONTENDERS[name](model, threads, lr.shape, folder)
        for _ in range(2):  # the first call may allocate memory and compile
            result = compute(lr)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return
    pipe.send((np.clip(result, 0, 1), peak_memory()))
    while pipe.recv():
        time.sleep(PAUSE)
        start = time.perf_counter()
        compute(lr)
        pipe.send(time.perf_counter() - start)


def peak_memory() -> int:
    """Bytes of memory that this process had at most."""
    if sys.platform == "linux":  # where the other number includes the parent's memory
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_installed(name: str) -> bool:
    """Whether the package of a contender is installed."""
    package = name.partition("-")[0]
    if package in ("onnxruntime", "openvino"):
        return find_spec(package) is not None and find_spec("onnxscript") is not None
    if package == "ncnn":
        return find_spec("ncnn") is not None
    return name != "native" or find_spec("torch_sr._native") is not None


def _network(model: str, threads: int) -> Any:
    """The ``nn.Module`` as other programs run it."""
    import torch

    import torch_sr

    torch.set_num_threads(threads)
    network = torch_sr.load(model).network.eval()
    return getattr(network, "network", network)  # without what spandrel does around it


def _eager(device: str, dtype: str = "float32") -> Start:
    """The plain graph: NCHW, ``no_grad``, as BasicSR, spandrel and Real-ESRGAN run it."""

    def start(model: str, threads: int, shape: tuple[int, ...], folder: Path) -> Compute:
        import torch

        torch.backends.cudnn.allow_tf32 = False  # fp32 is what others are compared with
        network = _network(model, threads).to(device, getattr(torch, dtype))

        def compute(lr: Floats) -> Floats:
            x = torch.from_numpy(lr).to(device, getattr(torch, dtype))
            with torch.no_grad():
                result: Floats = network(x).float().cpu().numpy()
            return result

        return compute

    return start


def _compiled(model: str, threads: int, shape: tuple[int, ...], folder: Path) -> Compute:
    import torch

    network = torch.compile(_network(model, threads))

    def compute(lr: Floats) -> Floats:
        with torch.inference_mode():
            result: Floats = network(torch.from_numpy(lr)).numpy()
        return result

    return compute


def _engine(engine: str, device: str = "cpu", precision: str = "auto") -> Start:
    """An engine of torch-sr."""

    def start(model: str, threads: int, shape: tuple[int, ...], folder: Path) -> Compute:
        import torch_sr
        from torch_sr.inference.engine_setup import start_engine

        return start_engine(torch_sr.load(model), device, precision, engine, threads)

    return start


def _onnxruntime(model: str, threads: int, shape: tuple[int, ...], folder: Path) -> Compute:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(onnx_file(folder, model)), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda lr: session.run(None, {name: lr})[0]


def _openvino(model: str, threads: int, shape: tuple[int, ...], folder: Path) -> Compute:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(onnx_file(folder, model)), "CPU", settings)
    return lambda lr: np.array(compiled([lr])[0])


def onnx_file(folder: Path, model: str) -> Path:
    """The ONNX file of a model."""
    return folder / f"{Path(model).stem}.onnx"


def export(model: str, shape: tuple[int, ...], folder: Path) -> None:
    """Write the ONNX file for one size of image."""
    import torch

    torch.onnx.export(
        _network(model, 1), (torch.zeros(shape),), onnx_file(folder, model), verbose=False
    )


CONTENDERS: dict[str, Start] = {
    "eager": _eager("cpu"),
    "compile": _compiled,
    "torch": _engine("torch"),
    "native": _engine("native"),
    "ncnn": _engine("ncnn"),
    "ncnn-vulkan": _engine("ncnn", "vulkan"),
    "ncnn-vulkan-fp16": _engine("ncnn", "vulkan", "fp16"),
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "eager-cuda": _eager("cuda"),
    "eager-cuda-fp16": _eager("cuda", "float16"),
    "torch-cuda": _engine("torch", "cuda"),
    "cuda": _engine("cuda", "cuda"),
}
NEEDS_ONNX = ("onnxruntime", "openvino")
"""Contenders that read the ONNX file of a model."""
DEFAULTS = {
    "cpu": ("torch", "native", "ncnn", "onnxruntime", "openvino"),
    "cuda": ("eager-cuda-fp16", "torch-cuda", "cuda"),
}
"""Contenders that are measured unless others are named."""
