"""A model -> a checked file for other programs: :func:`export`."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_sr.errors import ModelError
from torch_sr.exporting.check import FP32, HALF, Agreement, Tolerance
from torch_sr.exporting.draft import Draft
from torch_sr.exporting.formats import choose_format
from torch_sr.files import explain, flush, flush_folder, new_folder
from torch_sr.models.conversion import check_not_source
from torch_sr.models.loading import load
from torch_sr.models.model import Model, ModelLike
from torch_sr.networks.rrdb import RRDBNet


@dataclass(frozen=True)
class ExportedModel:
    """A file that was written, and how it was checked.

    Args:
        path: the file.
        files: all files that were written: two for OpenVINO and ncnn.
        format: ``onnx``, ``torchscript``, ``openvino`` or ``ncnn``.
        precision: ``fp32`` or ``fp16``.
        size: height and width of the only images that it takes; None for any size.
        opset: version of ONNX's operators; None for other formats.
        num_bytes: size of the files.
        largest_difference: from PyTorch in fp32, of any number, for images in [0, 1].
        psnr: of the results, in decibels; None if they are equal.
        tolerance: the largest difference that is allowed.
        shapes: of the images that were compared.
        records: what was written about the model; empty for ncnn, which has no room for it.
    """

    path: Path
    files: tuple[Path, ...]
    format: str
    precision: str
    size: tuple[int, int] | None
    opset: int | None
    num_bytes: int
    largest_difference: float
    psnr: float | None
    tolerance: float
    shapes: tuple[tuple[int, ...], ...]
    records: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = dict(vars(self))
        found["path"], found["files"] = str(self.path), [str(file) for file in self.files]
        return found


def export(
    model: ModelLike,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    size: int | tuple[int, int] | None = None,
    half: bool = False,
    opset: int | None = None,
    tolerance: float | None = None,
    overwrite: bool = False,
) -> ExportedModel:
    """Write a model for other programs, and check the file on a photograph.

    The file is run with ONNX Runtime, PyTorch's TorchScript, OpenVINO or ncnn, and compared with
    the network in PyTorch, in fp32. If the results differ by more than is tolerated, nothing is
    written.

    Args:
        model: a name, a weights file, a model, or an :class:`RRDBNet`.
        path: the file; missing folders are created.
        format: ``onnx``, ``torchscript``, ``openvino`` or ``ncnn``; by default, the suffix of
            ``path`` chooses it: ``.onnx``, ``.torchscript``, ``.xml`` or ``.param``.
        size: height and width of the only images that the file takes, or the side of squares; by
            default it takes any number of images of any size. Not for ncnn.
        half: compute in float16 (ONNX, TorchScript), or store the parameters as float16 (OpenVINO,
            ncnn). Images and results stay float32.
        opset: version of ONNX's operators, by default 18.
        tolerance: the largest difference that is allowed, by default 1e-4, and 0.05 with ``half``.
        overwrite: replace the file if it exists already.

    Raises:
        ModelError: the model cannot be read or cannot be exported to the format, the results
            differ by more than is tolerated, or the file exists, is the source, or cannot be
            written.
        MissingExtraError: the package of the format is not installed.
        DownloadError: a model of that name cannot be downloaded.

    >>> import tempfile, torch_sr
    >>> network = torch_sr.RRDBNet(scale_factor=2, rrdb_channels=8, num_basic_blocks=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = torch_sr.export(network, f"{folder}/model.torchscript")
    >>> done.format, done.largest_difference < 1e-5
    ('torchscript', True)
    """
    target = Path(path)
    chosen = choose_format(format, target)
    files = [Path(os.path.realpath(file)) for file in chosen.files(target)]
    _check_free(files, overwrite=overwrite)
    opened = _open(model)
    check_not_source(opened, files)
    draft = Draft(
        opened,
        chosen,
        size=(size, size) if isinstance(size, int) else size,
        half=half,
        opset=opset,
        tolerance=_choose_tolerance(half, tolerance),
    )
    draft.check_options()
    try:
        with (
            new_folder(target.parent),
            tempfile.TemporaryDirectory(prefix=".torch-sr-", dir=files[0].parent) as folder,
        ):
            written = chosen.files(Path(folder, target.name))
            records = draft.write(written[0])
            agreement = draft.compare(written[0])
            _rename(written, files)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {explain(error)}") from error
    return _report(draft, target, agreement, records)


def _check_free(files: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to replace a file, unless that is wanted and it belongs to the graph.

    Raises:
        ModelError: a file exists.
    """
    for file in files:
        if not os.path.lexists(file):
            continue
        if file.is_dir():
            raise ModelError(f"{file} is a folder; choose another name")
        if not overwrite:
            raise ModelError(f"{file} exists; --overwrite replaces it, or choose another name")
        if not files[0].exists():
            raise ModelError(f"{file}: choose another name; there is no {files[0].name} with it")


def _open(model: ModelLike) -> Model:
    if isinstance(model, RRDBNet):
        return Model.from_network(model)
    return model if isinstance(model, Model) else load(model)


def _choose_tolerance(half: bool, largest: float | None) -> Tolerance:
    """The usual tolerance, or a largest difference without a limit of the PSNR.

    Raises:
        ModelError: it is not a number that can be a difference.
    """
    if largest is not None and not 0 <= largest < math.inf:  # NaN fails too
        raise ModelError(f"tolerance {largest}: use a finite number, 0 or more")
    usual = HALF if half else FP32
    return usual if largest is None else Tolerance(largest, -math.inf)


def _rename(written: Sequence[Path], files: Sequence[Path]) -> None:
    """Give files their names, the one with the graph last."""
    for source, target in reversed(list(zip(written, files, strict=True))):
        flush(source)
        source.replace(target)
    flush_folder(files[0].parent)


def _report(
    draft: Draft, target: Path, agreement: Agreement, records: dict[str, str]
) -> ExportedModel:
    files = draft.format.files(target)
    return ExportedModel(
        path=target,
        files=tuple(files),
        format=draft.format.name,
        precision="fp16" if draft.half else "fp32",
        size=draft.size,
        opset=draft.opset,
        num_bytes=sum(file.stat().st_size for file in files),
        largest_difference=agreement.largest_difference,
        psnr=agreement.psnr if math.isfinite(agreement.psnr) else None,
        tolerance=draft.tolerance.largest_difference,
        shapes=agreement.shapes,
        records=records,
    )
