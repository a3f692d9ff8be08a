"""One HTML page of a test: tables, dot plots, image sliders.

The page is a single file that makes no network requests: its images are inside it, and a content
security policy forbids the rest. Equal input makes equal bytes. The markup is in ``report.html``, a
template of Jinja2.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template

from torch_sr._version import __version__
from torch_sr.aliases import Array
from torch_sr.errors import DataError
from torch_sr.evaluation.averages import json_safe
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.dot_plots import WIDTH, dot_plots
from torch_sr.evaluation.presentation.places import differing_place
from torch_sr.evaluation.presentation.tables import (
    difference_table,
    mean_table,
    number,
    results_by_protocol,
)
from torch_sr.evaluation.statistics import left_out_notes
from torch_sr.files import atomic_write

DETAIL = 480
"""Side of what is shown of a larger image, in high-resolution pixels."""
WHOLE = 512
"""Longest side up to which an image is shown whole."""
_LR, _HR = "low resolution", "original"
_PROTOCOLS = {
    "paper": "luma, as many border pixels cropped as the scale factor, rounded to 8 bits",
    "rgb": "all channels, as many border pixels cropped as the scale factor, rounded to 8 bits",
    "enhanced-srgan": "gray, neither cropped nor rounded",
}


@dataclass(frozen=True)
class _ReportImage:
    """One image on the page: its scores, and its panels in their order.

    Args:
        scores: the scores under every method, the baseline first.
        panels: the name of each panel, and its pixels as a data URL.
        height, width: size of the part that is shown.
    """

    scores: list[ImageScore]
    panels: list[tuple[str, str]]
    height: int
    width: int

    @property
    def name(self) -> str:
        return self.scores[0].image

    @property
    def dataset(self) -> str:
        return self.scores[0].dataset

    @property
    def psnr(self) -> float:
        """PSNR of the last method."""
        return self.scores[-1].metrics["psnr"]

    @property
    def gain(self) -> float:
        """PSNR of the last method minus that of the first; 0 if both are infinite."""
        first = self.scores[0].metrics["psnr"]
        gain = 0.0 if first == self.psnr else self.psnr - first
        return -math.inf if math.isnan(gain) else gain  # sorts to the top, where it is noticed

    @property
    def head(self) -> list[str]:
        """The titles of the metrics."""
        return [METRICS[metric].title for metric in self.scores[0].metrics]

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """Every method with its metrics as text."""
        return [
            (score.method, [number(value, metric) for metric, value in score.metrics.items()])
            for score in self.scores
        ]


class Report:
    """Collect the images of a test, then write the page.

    Args:
        title: the heading.
        protocol: the protocol of PSNR and SSIM.
        scale_factor: the scale factor of the models.
        notes: sentences below the heading.
        reference: the method that the others are compared with, if any.
    """

    def __init__(
        self,
        title: str,
        protocol: str,
        scale_factor: int,
        notes: Sequence[str] = (),
        reference: str | None = None,
    ) -> None:
        self.title = title
        self.protocol = protocol
        self.scale_factor = scale_factor
        self.notes = list(notes)
        self.reference = reference
        self._images: list[_ReportImage] = []

    def add(self, comparison: Comparison) -> None:
        """Add an image; only its scores and a compressed detail are kept."""
        comparison = comparison.to_8_bit()
        hr, lr = comparison.hr, comparison.lr
        rows, columns = slice(0, hr.shape[0]), slice(0, hr.shape[1])
        if max(hr.shape[:2]) > WHOLE:
            top, left, side = differing_place(comparison, DETAIL)
            rows, columns = slice(top, top + side), slice(left, left + side)
        scale = self.scale_factor
        low = lr[rows.start // scale : rows.stop // scale, columns.start // scale :]
        low = low[:, : (columns.stop - columns.start) // scale]
        panels = [(_LR, _encode(low, "PNG"))]
        for method, sr in comparison.results.items():
            panels.append((method, _encode(sr[rows, columns], "JPEG")))
        panels.append((_HR, _encode(hr[rows, columns], "JPEG")))
        height, width = hr[rows, columns].shape[:2]
        scores = [score for score in comparison.scores if score.protocol == comparison.protocol]
        self._images.append(_ReportImage(scores, panels, height, width))

    @property
    def scores(self) -> list[ImageScore]:
        """The scores of all images and methods so far."""
        return [score for image in self._images for score in image.scores]

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            DataError: the file cannot be written.
        """
        try:
            with atomic_write(path) as temporary:
                temporary.write_text(self.to_html(), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path}: cannot be written: {reason}; name another file") from error

    def to_html(self) -> str:
        """The whole page."""
        scores = self.scores
        (results,) = results_by_protocol(scores, [self.protocol], self.reference)
        methods = list(dict.fromkeys(score.method for score in scores))
        datasets = list(dict.fromkeys(score.dataset for score in scores))
        shown = [_LR, *methods, _HR]
        return _template().render(
            title=self.title,
            version=__version__,
            summary=self._summary(datasets),
            notes=self.notes,
            left_out=left_out_notes(results.summary),
            means=mean_table(results),
            reference=self.reference,
            differences=difference_table(results) if results.differences else None,
            plot_rows=dot_plots(scores),
            plot_width=WIDTH,
            baseline=methods[0] if methods else "the baseline",
            datasets=datasets,
            shown=shown,
            left=1,
            right=len(methods) if len(methods) > 1 else len(shown) - 1,
            images=sorted(self._images, key=lambda image: image.gain),
            scores=json_safe([asdict(score) for score in scores]),
        )

    def _summary(self, datasets: Sequence[str]) -> str:
        count = len(self._images)
        images = "1 image" if count == 1 else f"{count} images"
        protocol = _PROTOCOLS.get(self.protocol, "")
        return (
            f"{images} of {', '.join(datasets) or 'no data set'} at x{self.scale_factor}, "
            f"protocol {self.protocol!r}: {protocol}."
        )


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = _plain
    environment.policies["json.dumps_kwargs"] = {}  # in the order of the scores
    return environment.from_string(files(__package__).joinpath("report.html").read_text("utf-8"))


def _encode(image: Array, kind: str) -> str:
    """Pixels as a data URL: PNG, or JPEG without chroma subsampling."""
    from PIL import Image as Pillow

    pixels = image[..., 0] if image.shape[2] == 1 else image
    buffer = io.BytesIO()
    how: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _plain(value: float) -> str:
    """A number for the script of the page."""
    return f"{value:.6f}" if math.isfinite(value) else "inf" if value > 0 else "-inf"
