"""Images in memory (NumPy, PyTorch, Pillow) <-> batches of pixels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.images.image import DTYPES

if TYPE_CHECKING:
    import torch

_OVERSHOOT = 0.25  # sharpening and resampling exceed [0, 1] by less


def to_batch(image: Any) -> tuple[Pixels, Callable[[Pixels], Any]]:
    """Convert any image to ``(N, H, W, 1 to 4)``; also return how a result is converted back.

    Raises:
        ImageError: it is not an image, or has values outside [0, 1].
    """
    torch = sys.modules.get("torch")  # not loaded: there are no such images
    if torch is not None and isinstance(image, torch.Tensor):
        return _from_tensor(image)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        batch, _ = to_batch(_pillow_pixels(image))
        return batch, lambda sr: pillow.fromarray(sr[0, ..., 0] if sr.shape[3] == 1 else sr[0])
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"{type(image).__name__} is not an image; give an array, a tensor, a Pillow image, a "
            "path, the bytes of a file or an open file"
        )
    dtype = image.dtype
    if np.issubdtype(dtype, np.floating):  # of any precision
        image = image.astype(np.float32, copy=False)
    elif not dtype.isnative:
        image = image.astype(dtype.newbyteorder("="))
    if image.ndim == 2:
        return _checked(image[None, ..., None]), lambda sr: sr[0, ..., 0].astype(dtype, copy=False)
    if image.ndim == 3:
        return _checked(image[None]), lambda sr: sr[0].astype(dtype, copy=False)
    return _checked(image), lambda sr: sr.astype(dtype, copy=False)


@contextmanager
def as_file(data: bytes | bytearray | memoryview | IO[bytes]) -> Iterator[Path]:
    """Yield a temporary file with these bytes, since images are read from files.

    Raises:
        ImageError: the file object returns text, or nothing can be read from it.
    """
    content = data if isinstance(data, (bytes, bytearray, memoryview)) else data.read()
    if isinstance(content, str):
        raise ImageError("the file is open as text; open it in binary mode, as 'rb'")
    with TemporaryDirectory(prefix="torch-sr-") as folder:
        path = Path(folder, "image")
        path.write_bytes(content)
        try:
            yield path
        except ImageError as error:  # the caller does not know this path
            raise ImageError(str(error).replace(str(path), "the image")) from error


def _from_tensor(tensor: torch.Tensor) -> tuple[Pixels, Callable[[Pixels], torch.Tensor]]:
    """``(C, H, W)`` or ``(N, C, H, W)``, on any device; floats in half precision too."""
    if tensor.ndim not in (3, 4):
        raise ImageError(f"a tensor is (C, H, W) or (N, C, H, W), not {tuple(tensor.shape)}")
    whole = tensor.detach().cpu()
    whole = whole.float() if whole.is_floating_point() else whole
    batch = whole.numpy()
    batch = batch[None] if tensor.ndim == 3 else batch

    def restore(sr: Pixels) -> torch.Tensor:
        import torch

        result = torch.from_numpy(np.ascontiguousarray(sr.transpose(0, 3, 1, 2)))
        result = result.to(tensor.device, tensor.dtype)
        return result[0] if tensor.ndim == 3 else result

    return _checked(batch.transpose(0, 2, 3, 1)), restore


def _checked(batch: Pixels) -> Pixels:
    if batch.ndim != 4 or not 1 <= batch.shape[3] <= 4 or batch.size == 0:
        raise ImageError(
            f"an image is (H, W) or (H, W, 1 to 4), a batch (N, H, W, 1 to 4), not {batch.shape}"
        )
    if batch.dtype not in DTYPES.values():
        raise ImageError(f"pixels must be uint8, uint16 or floats in [0, 1], not {batch.dtype}")
    if np.issubdtype(batch.dtype, np.floating):
        _check_range(batch)
    return batch


def _check_range(batch: Pixels) -> None:
    """Refuse floats far outside [0, 1]; the overshoot of filters is clipped later."""
    least, most = float(batch.min()), float(batch.max())
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ImageError("the image has NaN or infinite values; replace them first")
    if least < -_OVERSHOOT or most > 1 + _OVERSHOOT:
        white = "divide by the value of white (255 for 8 bits)"
        remedy = white if most > 1 + _OVERSHOOT else "undo the normalization"
        raise ImageError(
            f"floats must be in [0, 1], not {least:g} to {most:g}; {remedy}, or pass uint8 or "
            "uint16"
        )


def _pillow_pixels(image: Any) -> Pixels:
    """The pixels of a Pillow image as gray or RGB, with alpha if it has any transparency."""
    if image.mode in ("I", "F"):
        raise ImageError(
            f"a Pillow image of mode {image.mode} has no known white; pass an array of uint8, "
            "uint16 or floats in [0, 1]"
        )
    if image.mode.startswith("I;16"):  # Pillow's own conversions clip it at 255
        return np.asarray(image, np.uint16)
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    mode = _mode_for(image)
    return np.asarray(image if image.mode == mode else image.convert(mode), np.uint8)


def _mode_for(image: Any) -> str:
    """The mode that a Pillow image is converted to."""
    mode: str = image.mode
    transparent = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if mode in ("1", "L", "LA", "La"):
        return "LA" if transparent else "L"
    return "RGBA" if transparent else "RGB"
