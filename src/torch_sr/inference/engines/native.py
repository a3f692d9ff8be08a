"""The native engine: networks on a CPU, compiled from C++ (src/native)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.errors import DeviceError, DeviceMemoryError, ModelError
from torch_sr.machine import free_ram, usable_cpus
from torch_sr.networks.configs import CompactConfig, RRDBConfig

if TYPE_CHECKING:
    from torch_sr._native import NativeNetwork

MOST_CHANNELS = 16
"""Of images: the last convolution computes them together."""
_LARGEST_TILES = 512 * 2**20
"""Bytes for one tile; larger tiles are not faster."""


class NativeEngine:
    """Computes a network with Winograd convolutions, in fp32, without PyTorch.

    Results differ from PyTorch's by rounding only, less than 1e-5 for trained networks.

    Args:
        parameters: float32, under the names and in the shapes of ``config.shapes()``.
        config: the hyper-parameters of the network.
        threads: by default as many as there are usable processors.
        instruction_set: one of :func:`instruction_sets`; by default the fastest.

    Raises:
        DeviceError: the compiled module is missing, or the processor does not have the
            instruction set.
        ModelError: a parameter is missing or has another shape, or there are more than 16
            image channels.
    """

    def __init__(
        self,
        parameters: Mapping[str, Floats],
        config: RRDBConfig | CompactConfig,
        *,
        threads: int | None = None,
        instruction_set: str = "",
    ) -> None:
        self.scale_factor = config.scale_factor
        self.img_channels = config.img_channels
        self.tiles_redone = 0
        # spandrel, which computes SRVGGNetCompact in PyTorch, clips its results as well.
        self._clips = isinstance(config, CompactConfig)
        self._unshuffle = config.pixel_unshuffle if isinstance(config, RRDBConfig) else 1
        if config.img_channels > MOST_CHANNELS:
            raise ModelError(
                f"img_channels is {config.img_channels}; the native engine computes up to "
                f"{MOST_CHANNELS}"
            )
        _check_parameters(parameters, config)
        options: dict[str, Any] = {
            "threads": usable_cpus() if threads is None else threads,
            "instruction_set": instruction_set,
        }
        if instruction_set not in ("", *instruction_sets()):
            raise DeviceError(
                f"instruction set {instruction_set!r}: this processor has "
                f"{', '.join(instruction_sets())}"
            )
        if isinstance(config, RRDBConfig):
            self._network = _build_rrdb_net(parameters, config, options)
        else:
            self._network = _build_compact_net(parameters, config, options)
        self._bytes_per_pixel = _bytes_per_pixel(config)
        self._lock = threading.Lock()  # one tile at a time: its threads use all processors

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels per call for the memory that is free now."""
        return max(1, int(min(free_ram() / 2, _LARGEST_TILES) / self._bytes_per_pixel))

    @property
    def threads(self) -> int:
        """How many threads compute a tile."""
        return self._network.threads

    @property
    def instruction_set(self) -> str:
        """The instruction set in use."""
        return self._network.instruction_set

    def __call__(self, lr: Floats) -> Floats:
        """``(N, C, H, W)`` float32 in [0, 1] to ``(N, C, H * s, W * s)`` float32.

        Results of RRDBNet are not clipped, those of SRVGGNetCompact are clipped to [0, 1].

        Raises:
            DeviceMemoryError: the batch does not fit into memory; a smaller one may.
            ModelError: the result is not finite.
        """
        height, width = lr.shape[2:]
        try:
            with self._lock:
                sr = self._network(_unshuffle(lr, self._unshuffle))
        except MemoryError:
            raise DeviceMemoryError(
                f"not enough memory for {width}x{height} pixels at once; free some, or choose a "
                "smaller model"
            ) from None
        if not np.isfinite(sr).all():
            raise ModelError(
                "choose another model or an earlier checkpoint: from this image, the network "
                "computes NaN or infinite values"
            )
        if self._clips:
            np.clip(sr, 0, 1, out=sr)
        return sr[..., : height * self.scale_factor, : width * self.scale_factor]


def instruction_sets() -> list[str]:
    """The instruction sets of this processor that the engine is compiled for, the fastest first.

    Raises:
        DeviceError: the compiled module is missing.
    """
    _require_module()
    from torch_sr._native import instruction_sets as found

    return found()


def is_available() -> bool:
    """Whether the compiled module is installed and can be loaded."""
    try:
        _require_module()
    except DeviceError:
        return False
    return True


def _require_module() -> None:
    try:
        import torch_sr._native  # noqa: F401
    except ImportError as error:
        raise DeviceError(
            "engine native: not installed; install a C++ compiler and reinstall torch-sr, or use "
            f"--engine torch ({error})"
        ) from error


def _check_parameters(parameters: Mapping[str, Floats], config: RRDBConfig | CompactConfig) -> None:
    for name, shape in config.shapes().items():
        found = parameters[name].shape if name in parameters else None
        if found != shape:
            raise ModelError(f"{name} has the shape {found}; it must be {shape}")


def _build_rrdb_net(
    parameters: Mapping[str, Floats], config: RRDBConfig, options: Mapping[str, Any]
) -> NativeNetwork:
    from torch_sr._native import NativeNetwork

    modules = [name for name in config.shapes() if name.endswith(".weight")]
    return NativeNetwork.rrdb_net(
        [_plain(parameters[name]) for name in modules],
        [_plain(parameters[_bias_of(name)]) for name in modules],
        rrdb_channels=config.rrdb_channels,
        growth_channels=config.growth_channels,
        num_basic_blocks=config.num_basic_blocks,
        num_dense_blocks=config.num_dense_blocks,
        num_residual_blocks=config.num_residual_blocks,
        residual_scaling=config.residual_scaling,
        use_subpixel_conv=config.use_subpixel_conv,
        upscaling_steps=list(config.upscaling_steps),
        **options,
    )


def _build_compact_net(
    parameters: Mapping[str, Floats], config: CompactConfig, options: Mapping[str, Any]
) -> NativeNetwork:
    from torch_sr._native import NativeNetwork

    biases = [name for name in config.shapes() if name.endswith(".bias")]
    weights = [name.removesuffix("bias") + "weight" for name in biases]
    slopes = [f"body.{number}.weight" for number in range(1, 2 * config.num_conv + 2, 2)]
    return NativeNetwork.compact_net(
        [_plain(parameters[name]) for name in weights],
        [_plain(parameters[name]) for name in biases],
        [_plain(parameters[name]) for name in slopes],
        scale_factor=config.scale_factor,
        **options,
    )


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _plain(values: Floats) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def _unshuffle(images: Array, side: int) -> Floats:
    """Fold squares of pixels into channels, as ``torch.nn.PixelUnshuffle``.

    The images are first padded at the bottom and right: mirrored, or repeated if they are too
    small.
    """
    if side == 1:
        return _plain(images)
    number, channels, height, width = images.shape
    bottom, right = -height % side, -width % side
    mirrors = height > bottom and width > right
    padding = ((0, 0), (0, 0), (0, bottom), (0, right))
    padded = np.pad(images, padding, mode="reflect" if mirrors else "edge")
    rows, columns = (height + bottom) // side, (width + right) // side
    squares = padded.reshape(number, channels, rows, side, columns, side)
    folded = squares.transpose(0, 1, 3, 5, 2, 4)
    return _plain(folded.reshape(number, channels * side**2, rows, columns))


def _bytes_per_pixel(config: RRDBConfig | CompactConfig) -> float:
    """Bytes of memory that grow with each low-resolution pixel: feature maps, and the result.

    What is needed for the rows in between, and for the weights, does not grow with the area.
    """
    channels = config.rrdb_channels if isinstance(config, RRDBConfig) else config.num_feat
    result = config.img_channels * config.scale_factor**2
    unshuffle = config.pixel_unshuffle if isinstance(config, RRDBConfig) else 1
    return 4 * (4 * (channels + 16) / unshuffle**2 + 3 * result)
