"""Tensors as weights files store them, in NumPy arrays: no PyTorch is needed to read a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_BITS = {"bfloat": "uint16", "float8": "uint8", "complex32": "uint32"}
"""What holds the bits of numbers that NumPy does not have, by how the names of types begin.

Some packages add a few of these types to NumPy; they are not used.
"""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of a weights file.

    Args:
        dtype: the type of its numbers, named as by PyTorch: ``float16``, ``bfloat16``.
        data: the numbers; of a type that NumPy does not have, their bits as unsigned integers.
    """

    dtype: str
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self.data.shape

    @property
    def is_floating_point(self) -> bool:
        """Whether its numbers are real and not quantized."""
        return self.dtype.startswith(("float", "bfloat"))

    def item(self) -> float:
        """The number of a tensor that has one."""
        return float(self.to_float32().item())

    def to_float32(self) -> Floats:
        """A copy of the numbers in float32."""
        if self.dtype == "bfloat16":  # the upper half of a float32
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        if self.dtype == self.data.dtype.name:
            with np.errstate(over="ignore"):  # a float64 may become infinite, which is found later
                return self.data.astype(np.float32)
        numbers: Floats = self.to_torch().float().numpy()  # 8-bit floats
        return numbers

    def to_torch(self) -> Tensor:
        """The same numbers as a tensor, which shares their memory."""
        import torch

        if self.dtype == self.data.dtype.name:
            return torch.from_numpy(self.data)
        if self.dtype.startswith("q"):
            raise ModelError(f"has {self.dtype} numbers; only floating point is supported")
        signed = self.data.view(self.data.dtype.name.removeprefix("u"))
        return torch.from_numpy(signed).view(getattr(torch, self.dtype))


AnyTensor: TypeAlias = "StoredTensor | Array | Tensor"


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The type of the arrays that hold numbers of a type of PyTorch.

    >>> numpy_dtype("float16"), numpy_dtype("bfloat16")
    (dtype('float16'), dtype('uint16'))
    """
    bits = next((kind for start, kind in _BITS.items() if name.startswith(start)), name)
    return np.dtype(bits)


def as_stored(value: AnyTensor) -> StoredTensor:
    """A tensor of any kind; the memory is shared where possible.

    Raises:
        ModelError: a sparse tensor, or one without numbers.
    """
    if isinstance(value, StoredTensor):
        return value
    if isinstance(value, np.ndarray):
        return StoredTensor(value.dtype.name, value)
    return _from_torch(value)


def _from_torch(tensor: Tensor) -> StoredTensor:
    import torch

    if tensor.layout != torch.strided or tensor.device.type == "meta":
        raise ModelError(f"is a {tensor.layout} tensor on {tensor.device.type}")
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return StoredTensor(name, tensor.int_repr().cpu().numpy())
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    kind = numpy_dtype(name)
    if kind.name == name:
        return StoredTensor(name, plain.numpy())
    signed = plain.view(getattr(torch, kind.name.removeprefix("u"))).numpy()
    return StoredTensor(name, signed.view(kind))


def count_types(state: Mapping[str, AnyTensor]) -> dict[str, int]:
    """How many tensors there are of each type."""
    return dict(Counter(as_stored(value).dtype for value in state.values()))
