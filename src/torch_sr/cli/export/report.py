"""The text that ``torch-sr export`` prints about a file that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_sr.exporting.formats import FORMATS

if TYPE_CHECKING:
    from torch_sr.exporting.export import ExportedModel


def to_text(done: ExportedModel) -> str:
    """Two lines: the file, and how it was checked."""
    return f"{_describe(done)}\n{_compare(done)}"


def _describe(done: ExportedModel) -> str:
    opset = [] if done.opset is None else [f"opset {done.opset}"]
    sizes = "images of any size" if done.size is None else f"{done.size[1]}x{done.size[0]} pixels"
    megabytes = f"{done.num_bytes / 1e6:.1f} MB"
    names = " and ".join(str(file) for file in done.files)
    facts = [FORMATS[done.format].title, *opset, done.precision, sizes, megabytes]
    return f"{names}: {', '.join(facts)}"


def _compare(done: ExportedModel) -> str:
    """The difference from PyTorch, and the sizes at which it was measured."""
    sizes = [f"{number}x {width}x{height}" for number, _, height, width in done.shapes]
    images = ", ".join(size.removeprefix("1x ") for size in sizes)
    if done.psnr is None:
        result = "no difference"
    else:
        result = f"largest difference {done.largest_difference:.1e}, PSNR {done.psnr:.1f} dB"
    return (
        f"checked against PyTorch on a photograph ({images}): {result}; "
        f"allowed is {done.tolerance:g}"
    )
