"""The CUDA engine: RRDBNet and SRVGGNetCompact on an NVIDIA card, in half precision.

Tiles of a size that comes again are computed by a CUDA graph, which starts all kernels of a network
at once. A result is copied to the host while the next tile is computed. Tiles are as large as the
memory permits, so there is no batching: it would do the same with more overlap.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from torch_sr.aliases import Floats
from torch_sr.inference.engines.pytorch import PyTorchEngine

_LARGEST_CACHE = 4  # sizes of tiles: inside, at the right, at the bottom, and in the corner
_log = logging.getLogger(__name__)

Forward: TypeAlias = Callable[[Tensor], Tensor]


class CudaEngine(PyTorchEngine):
    """Runs RRDBNet or SRVGGNetCompact on a CUDA device.

    Args:
        network, scale_factor, img_channels, device, precision, large_tiles: see
            :class:`~torch_sr.inference.engines.pytorch.PyTorchEngine`. In half precision, a copy
            in fp32 stays in the memory of the host, for tiles that overflow.
    """

    tiles_ahead = 2  # one is copied while another is computed

    def __init__(self, network: nn.Module, *arguments: Any, **options: Any) -> None:
        exact = copy.deepcopy(network).eval()
        super().__init__(network, *arguments, **options)
        self._exact = self._network if self.precision == "fp32" else exact
        self._network = self._network.to(self._dtype)
        self._graphs = GraphCache(self._forward)
        self._copies: torch.cuda.Stream | None = None

    def _compute(self, lr: Floats) -> Floats:
        with torch.cuda.device(self.device):
            with self._lock:
                x = self._send(lr)
                sr = self._run(x)
                finite = torch.isfinite(sr).all()
                computed = torch.cuda.current_stream().record_event()
            result, is_finite = self._receive((sr, finite), computed)
            if not is_finite:
                with self._lock:
                    result = self._recompute(x).cpu()
        values: Floats = result.numpy()
        return values

    def _send(self, lr: Floats) -> Tensor:
        """A batch on the device; the copy does not wait for earlier tiles."""
        pinned = torch.from_numpy(lr).pin_memory()
        return pinned.to(self.device, non_blocking=True).contiguous(
            memory_format=torch.channels_last
        )

    def _run(self, x: Tensor) -> Tensor:
        """The result, and if the graphs occupy the memory that it needs, without them."""
        try:
            return self._graphs(x)
        except torch.OutOfMemoryError:
            if not self._graphs:
                raise
            self._free()
            return self._forward(x)

    def _receive(self, results: tuple[Tensor, ...], computed: torch.cuda.Event) -> list[Tensor]:
        """Results on the host, copied while the device computes the next ones."""
        if self._copies is None:
            self._copies = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        host = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in results]
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(computed)
            for target, source in zip(host, results, strict=True):
                target.copy_(source, non_blocking=True)
            self._copies.record_event().synchronize()
        return host

    def _free(self) -> None:
        with self._lock:
            self._graphs.clear()
            super()._free()

    def _forward(self, x: Tensor, precision: str | None = None) -> Tensor:
        if precision == "fp32":
            self._exact = self._exact.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            exact: Tensor = self._exact(x)
            return exact
        sr: Tensor = self._network(x.to(self._dtype))
        return sr.float()


class GraphCache:
    """Computes tiles of sizes that come again by CUDA graphs.

    The first tile of a size is computed without one, since recording costs as much as a few tiles,
    and CUDA's libraries must have prepared themselves before. If recording fails, no graphs are
    used any more.

    Args:
        forward: is recorded; it must not wait for the device.
        record: records it for a batch of this size and type; returns a function that replays it,
            whose results are overwritten by the next one.
    """

    def __init__(
        self, forward: Forward, record: Callable[[Forward, Tensor, Any], Forward] | None = None
    ) -> None:
        self._forward = forward
        self._record = record or _record
        self._seen: OrderedDict[tuple[int, ...], Forward | None] = OrderedDict()
        self._pool: Any = None
        self._works = True

    def __call__(self, x: Tensor) -> Tensor:
        """Compute a batch; the result is not overwritten later."""
        shape = tuple(x.shape)
        if not self._works or shape not in self._seen:
            result = self._forward(x)
            self._remember(shape, None)
            return result
        replay = self._seen[shape] or self._recorded(x)
        if replay is None:
            return self._forward(x)
        self._remember(shape, replay)
        return replay(x).clone()

    def __len__(self) -> int:
        return sum(replay is not None for replay in self._seen.values())

    def clear(self) -> None:
        """Free the memory of all graphs."""
        self._seen.clear()
        self._pool = None

    def _remember(self, shape: tuple[int, ...], replay: Forward | None) -> None:
        self._seen[shape] = replay
        self._seen.move_to_end(shape)
        while len(self._seen) > _LARGEST_CACHE:
            self._seen.popitem(last=False)

    def _recorded(self, x: Tensor) -> Forward | None:
        if self._pool is None and torch.cuda.is_available():
            self._pool = torch.cuda.graph_pool_handle()  # shared: one graph runs at a time
        try:
            return self._record(self._forward, x, self._pool)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _log.info("computing without CUDA graphs: %s", error)
            self._works = False
            self.clear()
            return None


def _record(forward: Forward, x: Tensor, pool: Any) -> Forward:
    """Record a CUDA graph."""
    graph, held = torch.cuda.CUDAGraph(), torch.empty_like(x)
    # Other threads may copy results meanwhile.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = forward(held)

    def replay(batch: Tensor) -> Tensor:
        held.copy_(batch)
        graph.replay()
        return result

    return replay
