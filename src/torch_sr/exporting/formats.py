"""The formats that models are exported to: suffixes, files, number types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import ModelError


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        name: for ``--format``.
        title: its name in text.
        suffixes: of its file; the first is the default, and each stands for the format, except
            those in ``shared``.
        shared: suffixes that also weights files have.
        weights: suffix of a second file, with the parameters; None if there is none.
        sizes: whether the file may be for images of one size only.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    shared: tuple[str, ...] = ()
    weights: str | None = None
    sizes: bool = True

    def files(self, path: Path) -> list[Path]:
        """The files that are written: first the one that is named."""
        return [path] if self.weights is None else [path, path.with_suffix(self.weights)]


FORMATS = {
    each.name: each
    for each in (
        Format("onnx", "ONNX", (".onnx",)),
        Format("torchscript", "TorchScript", (".torchscript", ".ts"), shared=(".pt", ".pth")),
        Format("openvino", "OpenVINO", (".xml",), weights=".bin"),
        Format("ncnn", "ncnn", (".param",), weights=".bin", sizes=False),
    )
}

SUFFIXES = {suffix for each in FORMATS.values() for suffix in each.suffixes}
"""The suffixes that stand for a format."""


def choose_format(name: str | None, path: Path | None) -> Format:
    """The format that is named, or that the suffix of a file stands for; ONNX without both.

    Raises:
        ModelError: there is no such format, or the suffix is one of another.

    >>> choose_format(None, Path("model.xml")).title
    'OpenVINO'
    """
    if name is not None and name not in FORMATS:
        raise ModelError(f"format {name!r}: unknown; use {', '.join(FORMATS)}")
    if path is None:
        return FORMATS[name or "onnx"]
    suffix = path.suffix.lower()
    if name is not None:
        found = FORMATS[name]
        if suffix not in (*found.suffixes, *found.shared):
            raise ModelError(f"{path}: a file of {found.title} ends in {found.suffixes[0]}")
        return found
    for each in FORMATS.values():
        if suffix in each.suffixes:
            return each
    known = ", ".join(each.suffixes[0] for each in FORMATS.values())
    raise ModelError(f"{path}: end it in {known}, or name the format with --format")
