"""A network together with what is known of it: :class:`Model`.

PyTorch is imported only where the network itself is used.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torch_sr.errors import DeviceError, ImageError, ModelError
from torch_sr.models.files.records import weights_sha256
from torch_sr.models.files.tensors import count_types
from torch_sr.models.info import ModelInfo
from torch_sr.models.network_weights import NetworkWeights, find_weights, is_rrdbnet
from torch_sr.models.onnx.network import OnnxNetwork

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from torch_sr.networks.rrdb import RRDBNet


class Model:
    """A super-resolution network and what is known of it.

    :func:`torch_sr.load` and :func:`torch_sr.interpolate` return one; :meth:`from_network` makes
    one from your own network. A model computes whole images. :class:`torch_sr.Upscaler` computes
    images of any size in tiles, and reads and writes files.

    Args:
        network: ``(N, C, H, W)`` in [0, 1] to ``(N, C, H * s, W * s)``, in evaluation mode; or its
            weights or its ONNX file, of which it is built when it is first used.
        info: what is known of it.
        weights_sha256: hash of the parameters as they are stored; computed if omitted.

    >>> import torch, torch_sr
    >>> model = torch_sr.load("compact-x4")
    >>> model
    Model(compact-x4: RRDBNet x4, 3 channels, 1.28 M parameters)
    >>> model(torch.rand(1, 3, 8, 9)).shape
    torch.Size([1, 3, 32, 36])
    """

    def __init__(
        self,
        network: nn.Module | NetworkWeights | OnnxNetwork,
        info: ModelInfo,
        *,
        weights_sha256: str | None = None,
    ) -> None:
        self._weights: NetworkWeights | None = None
        self._network: nn.Module | None = None
        self.onnx: OnnxNetwork | None = None
        """The ONNX file that computes the results; None for a network with weights."""
        if isinstance(network, NetworkWeights):
            self._weights = network
        elif isinstance(network, OnnxNetwork):
            self.onnx = network
        else:
            self._network = network
        self.info = info
        self._stored_sha256 = weights_sha256

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        *,
        scale_factor: int | None = None,
        img_channels: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Model:
        """Wrap a network, which is set to evaluation mode.

        Args:
            network: ``(N, C, H, W)`` in [0, 1] to ``(N, C, H * s, W * s)``.
            scale_factor: ``s``; an :class:`RRDBNet` knows it.
            img_channels: ``C``, 1 (gray), 3 (RGB) or 4; an :class:`RRDBNet` knows it, otherwise the
                default is 3.
            name: by default the class of the network.
            metadata: records that :meth:`save` writes, such as ``license``.

        Raises:
            ModelError: the scale factor is missing, below 1, or contradicts the network.

        >>> import torch
        >>> double = torch.nn.Upsample(scale_factor=2)
        >>> Model.from_network(double, scale_factor=2)(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
        """
        from torch_sr.models.foreign import ForeignGenerator

        info = ModelInfo(
            name=name or type(network).__name__,
            architecture=type(network).__name__,
            scale_factor=_resolve_size("scale_factor", scale_factor, network, None),
            img_channels=_resolve_size("img_channels", img_channels, network, 3),
            config=network.config if is_rrdbnet(network) else None,
            num_parameters=sum(value.numel() for value in network.parameters()),
            dtype=str(_first_floating(network).dtype).removeprefix("torch."),
            metadata=dict(metadata or {}),
            tensor_types=count_types(network.state_dict()),
        )
        if isinstance(network, ForeignGenerator):
            info = replace(info, **network.rules())
        return cls(network.eval(), info)

    def copy(self) -> Model:
        """An independent copy, whose network may be moved or changed."""
        network = self.onnx or self._weights or copy.deepcopy(self.network)
        return Model(network, self.info, weights_sha256=self.weights_sha256)

    def with_info(self, info: ModelInfo) -> Model:
        """The same network with other records."""
        network = self.onnx or self._weights or self.network
        return Model(network, info, weights_sha256=self.weights_sha256)

    def __call__(self, lr: Tensor) -> Tensor:
        """Super-resolve whole images in inference mode, without tiles or gradients.

        Args:
            lr: ``(N, C, H, W)`` in [0, 1], C being :attr:`img_channels`; on the device and of the
                type of the model. Use ``model.network`` to compute gradients.

        Returns:
            ``(N, C, H * scale_factor, W * scale_factor)``. RRDBNet may overshoot [0, 1] slightly:
            clamp the result before it is converted to integers.

        Raises:
            ImageError: another shape, other channels or another type.
            DeviceError: the images are on another device.
        """
        import torch

        self._check_input(lr)
        with torch.inference_mode():
            sr: Tensor = self.network(lr)
        return sr

    def require_weights(self, use: str) -> None:
        """Refuse an ONNX file where the parameters themselves are needed.

        Args:
            use: what they are needed for, a verb.

        Raises:
            ModelError: the model is an ONNX file.
        """
        if self.onnx is not None:
            raise ModelError(
                f"{self.info.origin}: use the model it was exported from; an ONNX file has no "
                f"weights to {use}"
            )

    def __repr__(self) -> str:
        info = self.info
        size = f"x{info.scale_factor}, {info.img_channels} channels"
        parameters = f"{info.num_parameters / 1e6:.2f} M parameters"
        return f"Model({info.name}: {info.architecture} {size}, {parameters})"

    @property
    def network(self) -> nn.Module:
        """The network in PyTorch, which is imported now if it was not."""
        weights = self._weights
        if self._network is None and self.onnx is not None:
            self._network = self.onnx.build()
        if self._network is None and weights is not None:
            self._network = weights.build()
            self._weights = None  # the network may be moved, trained or changed
        assert self._network is not None
        return self._network

    @property
    def weights(self) -> NetworkWeights | None:
        """The parameters as NumPy arrays, which must not be written to.

        None for another network than RRDBNet or SRVGGNetCompact in float32.
        """
        if self.onnx is not None:
            return None
        if (weights := self._weights) is not None:
            return weights
        return find_weights(self.network)

    @property
    def scale_factor(self) -> int:
        """How many times higher and wider the result is."""
        return self.info.scale_factor

    @property
    def img_channels(self) -> int:
        """Channels of input and output: 1 (gray), 3 (RGB) or 4."""
        return self.info.img_channels

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return _first_floating(self.network).device

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the network computes: float32 after loading."""
        return _first_floating(self.network).dtype

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the parameters: as stored in the file, or of the network in memory.

        It does not depend on the layout or the format of the file. For an ONNX file, it is that of
        the file.
        """
        if self._stored_sha256 is not None:
            return self._stored_sha256
        weights = self._weights
        return weights_sha256(weights.parameters if weights else self.network.state_dict())

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Model:
        """Move the network, as ``nn.Module.to`` does, and return this model.

        Args:
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
            dtype: a floating-point type.

        Raises:
            DeviceError: the device is not available.
            ModelError: the type is not a floating-point type.
        """
        if dtype is not None and not dtype.is_floating_point:
            raise ModelError(f"choose a floating-point type: a network cannot compute in {dtype}")
        from torch_sr.devices import choose_device

        target = choose_device(device) if isinstance(device, str) else device
        self.network.to(device=target, dtype=dtype)
        return self

    def save(
        self,
        path: str | Path,
        *,
        layout: str | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Path:
        """Write the model to a file, completely or not at all.

        Stage, license and other records are written if the format can hold them; for an
        interpolation these are its parents. Missing folders are created, an existing file is
        replaced.

        Args:
            path: ends in ``.safetensors``, ``.pth``, ``.pt``, or, for ncnn, ``.param``, next to
                which a ``.bin`` is written.
            layout: names of the parameters, for other programs: ``old`` (ESRGAN of 2018), ``mid``
                (xinntao/ESRGAN), ``new`` (BasicSR, Real-ESRGAN) or ``enhanced-srgan``. By default
                ``new`` in ``.safetensors`` and ``enhanced-srgan`` in ``.pth``. ncnn and
                SRVGGNetCompact have a single one.
            dtype: ``fp32``, ``fp16`` or ``bf16`` (not for ncnn), or PyTorch's type; by default that
                of the loaded file, or fp32 if the source is an ncnn file and the target is not.

        Returns:
            the path.

        Raises:
            ModelError: unknown suffix, layout or type; a network that is neither RRDBNet nor
                SRVGGNetCompact; parameters that are not finite or that the layout cannot hold; a
                file that cannot be written.

        >>> import tempfile, torch_sr
        >>> model = torch_sr.load("compact-x4")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = model.save(f"{folder}/compact.pth", layout="old", dtype="fp16")
        ...     torch_sr.load(file).info.layout
        'old'
        """
        from torch_sr.models.saving import save_model

        self.require_weights("convert")
        return save_model(self.network, self.info, Path(path), layout=layout, dtype=dtype)

    def _check_input(self, lr: Tensor) -> None:
        from torch import Tensor

        expected = f"(N, {self.img_channels}, H, W) in [0, 1]"
        if not isinstance(lr, Tensor):
            raise ImageError(
                f"give a tensor {expected}, not {type(lr).__name__}; Upscaler takes arrays, Pillow "
                "images and files"
            )
        if lr.ndim != 4 or lr.shape[1] != self.img_channels or lr.numel() == 0:
            raise ImageError(f"give a tensor {expected}, not {tuple(lr.shape)}")
        if not lr.is_floating_point():
            raise ImageError(f"give floats in [0, 1], not {lr.dtype}: divide by the value of white")
        if any(True for _ in self.network.parameters()):
            if lr.device != self.device:
                raise DeviceError(
                    f"move the images with .to({str(self.device)!r}): they are on {lr.device}, the "
                    f"model is on {self.device}"
                )
            if lr.dtype != self.dtype:
                raise ImageError(
                    f"convert the images with .to({self.dtype}): the model computes in that type, "
                    f"they are {lr.dtype}"
                )


ModelLike: TypeAlias = "str | Path | Model | RRDBNet"
"""A model, its name or its file, or a bare network."""


def _first_floating(network: nn.Module) -> Tensor:
    """A parameter that shows device and type; a CPU tensor of float32 if there is none."""
    import torch

    return next(
        (value for value in network.parameters() if value.is_floating_point()), torch.zeros(())
    )


def _resolve_size(key: str, given: int | None, network: nn.Module, default: int | None) -> int:
    """A size that is given, or that the network knows.

    Raises:
        ModelError: it is missing, impossible, or the two differ.
    """
    known = getattr(network, key, None)
    known = known if isinstance(known, int) else None
    value = next((each for each in (given, known, default) if each is not None), None)
    kind = type(network).__name__
    if value is None:
        raise ModelError(f"give the {key} of this {kind}: the network does not know it")
    if value < 1:
        raise ModelError(f"{key} is {value}; it must be at least 1")
    if known is not None and value != known:
        raise ModelError(f"{key} is {value}; leave it out, this {kind} has {known}")
    return value
