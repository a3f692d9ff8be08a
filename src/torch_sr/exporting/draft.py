"""An export before it has its name: write it in its format, and check it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from torch_sr.aliases import Floats
from torch_sr.errors import MissingExtraError, ModelError, TorchSRError
from torch_sr.exporting.check import Agreement, Run, Tolerance, compare, photographs
from torch_sr.exporting.formats import Format
from torch_sr.exporting.ncnn import open_ncnn, write_ncnn_model
from torch_sr.exporting.onnx import DEFAULT_OPSET, open_onnx, write_onnx
from torch_sr.exporting.openvino import open_openvino, write_openvino
from torch_sr.exporting.portable import (
    PortableNetwork,
    TracingError,
    is_plain,
    least_side,
    side_multiple,
)
from torch_sr.exporting.records import COLORS, export_records, find_overlap
from torch_sr.exporting.torchscript import open_torchscript, write_torchscript
from torch_sr.models.model import Model

_OPENERS: dict[str, Callable[[Path], Run]] = {
    "onnx": open_onnx,
    "torchscript": open_torchscript,
    "openvino": open_openvino,
    "ncnn": open_ncnn,
}

_LARGEST_SIDE = 8192  # of the only size of images: the check computes one


class Draft:
    """An export that is not finished.

    Args:
        model: the model; it is not changed.
        file_format: what is written.
        size: height and width of the only images that the file takes; None for any size.
        half: compute in float16, or store the parameters as float16.
        opset: version of ONNX's operators; None for the usual one.
        tolerance: the difference from PyTorch that is allowed.
    """

    def __init__(
        self,
        model: Model,
        file_format: Format,
        *,
        size: tuple[int, int] | None,
        half: bool,
        opset: int | None,
        tolerance: Tolerance,
    ) -> None:
        self.model = model
        self.format = file_format
        self.size = size
        self.half = half
        self.opset = DEFAULT_OPSET if opset is None and file_format.name == "onnx" else opset
        self.tolerance = tolerance

    def check_options(self) -> None:
        """Refuse what the format or the model does not have.

        Raises:
            ModelError: an option does not apply.
        """
        info, title = self.model.info, self.format.title
        if self.model.onnx is not None:
            raise ModelError(
                f"{info.origin} is an ONNX file; export the model it was exported from"
            )
        if self.model.img_channels not in COLORS:
            raise ModelError(
                f"{info.origin} has {self.model.img_channels} channels; only networks with 1, 3 or "
                "4 can be exported"
            )
        if self.opset is not None and self.format.name != "onnx":
            raise ModelError(f"opset {self.opset}: leave it out; {title} has none")
        if self._computes_in_half and "fp16" not in info.precisions:
            raise ModelError(
                f"{info.origin} is a {info.architecture}, which does not compute in fp16; leave "
                "out --half"
            )
        if self.size is not None:
            self._check_size(*self.size)

    def write(self, path: Path) -> dict[str, str]:
        """Write the files, and return the records in them.

        Raises:
            ModelError: the network cannot be exported.
            MissingExtraError: the package of the format is not installed.
        """
        try:
            return self._write(path)
        except ModelError as error:
            hint = self._hint if isinstance(error, TracingError) else ""
            raise ModelError(f"{self.model.info.origin}: {error}{hint}") from error

    def compare(self, path: Path) -> Agreement:
        """Run what was written, and compare it with PyTorch.

        Raises:
            ModelError: the results differ by more than is tolerated, or it cannot be run.
        """
        model = self.model.copy().to("cpu", torch.float32)
        images = photographs(
            model.img_channels,
            self.size,
            least=least_side(model),
            multiple=side_multiple(model) if self.format.name == "ncnn" else 1,
            small=self.half and self.format.name == "torchscript",  # slow in float16 on a CPU
        )
        origin, title = model.info.origin, self.format.title

        def reference(lr: Floats) -> Floats:
            sr: Floats = model(torch.from_numpy(lr)).numpy()
            return sr

        try:
            found = compare(reference, _OPENERS[self.format.name](path), images)
        except MissingExtraError:
            raise
        except (TorchSRError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1].replace(str(path), "the file")[:200]
            raise ModelError(f"{origin}: {title} cannot run it: {reason}{self._hint}") from error
        if not found.within(self.tolerance):
            raise ModelError(
                f"{origin}: nothing was written, because in {title} its results differ by up to "
                f"{found.largest_difference:.2g} (PSNR {found.psnr:.1f} dB) from PyTorch; allowed "
                f"is {self.tolerance}{self._hint}"
            )
        return found

    @property
    def _computes_in_half(self) -> bool:
        """Whether the network itself is converted to float16, and not only what is stored."""
        return self.half and self.format.name in ("onnx", "torchscript")

    @property
    def _hint(self) -> str:
        """What may work, if images of any size do not."""
        any_size = self.size is None and self.format.sizes and not is_plain(self.model.network)
        return "; images of one size may work: --size 256" if any_size else ""

    def _check_size(self, height: int, width: int) -> None:
        if not self.format.sizes:
            raise ModelError(f"size: leave it out; {self.format.title} takes images of any size")
        least = least_side(self.model)
        if min(height, width) < least:
            raise ModelError(
                f"size {width}x{height}: {self.model.info.origin} takes {least}x{least} or more"
            )
        if max(height, width) > _LARGEST_SIDE:
            raise ModelError(
                f"size {width}x{height}: use at most {_LARGEST_SIDE}x{_LARGEST_SIDE}; cut larger "
                "images into tiles"
            )

    def _write(self, path: Path) -> dict[str, str]:
        model, size, name = self.model, self.size, self.format.name
        if name == "ncnn":
            write_ncnn_model(path, model, half=self.half)
            return {}
        network = PortableNetwork(model, half=self._computes_in_half)
        records = export_records(model, half=self.half, overlap=find_overlap(model))
        if name == "onnx":
            assert self.opset is not None
            write_onnx(path, network, records, size=size, opset=self.opset)
        elif name == "torchscript":
            write_torchscript(path, network, records, size=size)
        else:
            write_openvino(path, network, records, size=size, half=self.half)
        return records
