"""One HTML page of a test: tables, distributions, and every image under a slider.

The page is a single file that makes no network requests: pictures are inside it, and a content
security policy forbids the rest. Equal input makes equal bytes. The look of it is ``report.html``.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from torch_sr._version import __version__
from torch_sr.aliases import Array
from torch_sr.errors import DataError
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.dot_plots import draw_strips
from torch_sr.evaluation.presentation.figures import telling_place
from torch_sr.evaluation.presentation.report_tables import (
    breakable,
    differences_section,
    means_table,
)
from torch_sr.evaluation.presentation.tables import number
from torch_sr.evaluation.statistics import left_out_notes, summarize
from torch_sr.files import atomic_write

DETAIL = 480
"""Side of what is shown of a larger image, in high-resolution pixels."""
WHOLE = 512
"""Longest side up to which an image is shown whole."""
_LR, _HR = "low resolution", "original"
_PROTOCOLS = {
    "paper": "luma, the border of scale-factor pixels cropped, rounded to 8 bits",
    "rgb": "all channels, the border of scale-factor pixels cropped, rounded to 8 bits",
    "enhanced-srgan": "gray, nothing cropped or rounded",
}


@dataclass(frozen=True)
class _Entry:
    """What is kept of an image: its scores, and its pictures in their order."""

    comparison: ImageScore
    scores: list[ImageScore]
    pictures: list[tuple[str, str]]
    height: int
    width: int


class Report:
    """Collect the images of a test, then write the page.

    Args:
        title: its heading.
        protocol: under which PSNR and SSIM were measured.
        scale_factor: of the models.
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
        self._entries: list[_Entry] = []

    def add(self, comparison: Comparison) -> None:
        """Take an image; only its scores and small pictures are kept."""
        comparison = comparison.to_8_bit()
        hr, lr = comparison.hr, comparison.lr
        rows, columns = slice(0, hr.shape[0]), slice(0, hr.shape[1])
        if max(hr.shape[:2]) > WHOLE:
            top, left, side = telling_place(comparison, DETAIL)
            rows, columns = slice(top, top + side), slice(left, left + side)
        scale = self.scale_factor
        low = lr[rows.start // scale : rows.stop // scale, columns.start // scale :]
        low = low[:, : (columns.stop - columns.start) // scale]
        pictures = [(_LR, _encode(low, "PNG"))]
        for method, sr in comparison.results.items():
            pictures.append((method, _encode(sr[rows, columns], "JPEG")))
        pictures.append((_HR, _encode(hr[rows, columns], "JPEG")))
        height, width = hr[rows, columns].shape[:2]
        scores = [score for score in comparison.scores if score.protocol == comparison.protocol]
        self._entries.append(_Entry(scores[-1], scores, pictures, height, width))

    @property
    def scores(self) -> list[ImageScore]:
        """The scores of all images and methods so far."""
        return [score for entry in self._entries for score in entry.scores]

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            DataError: when that cannot be done.
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
        summary = summarize(scores)
        methods = list(dict.fromkeys(score.method for score in scores))
        datasets = list(dict.fromkeys(score.dataset for score in scores))
        shown = [_LR, *methods, _HR]
        page = Template(files(__package__).joinpath("report.html").read_text("utf-8"))
        return page.substitute(
            title=html.escape(self.title),
            version=__version__,
            summary=html.escape(self._summary(datasets)),
            notes="".join(f"<p>{html.escape(note)}</p>" for note in self.notes),
            left_out="".join(f"<p>{html.escape(note)}.</p>" for note in left_out_notes(summary)),
            table=means_table(scores),
            differences=differences_section(scores, self.reference),
            plots=draw_strips(scores),
            baseline=html.escape(methods[0]) if methods else "the baseline",
            dataset_options=_options(datasets),
            left_options=_options(shown, chosen=1),
            right_options=_options(
                shown, chosen=len(methods) if len(methods) > 1 else len(shown) - 1
            ),
            images="".join(_article(entry) for entry in sorted(self._entries, key=_gain)),
            scores=_json(scores),
        )

    def _summary(self, datasets: Sequence[str]) -> str:
        count = len(self._entries)
        images = "1 image" if count == 1 else f"{count} images"
        protocol = _PROTOCOLS.get(self.protocol, "")
        return (
            f"{images} of {', '.join(datasets) or 'no data set'} at x{self.scale_factor}, "
            f"protocol {self.protocol!r}: {protocol}."
        )


# --- Images -------------------------------------------------------------------------------------


def _gain(entry: _Entry) -> float:
    """How much the last method gains in PSNR over the first; equal infinities gain nothing."""
    first, last = (score.metrics["psnr"] for score in (entry.scores[0], entry.scores[-1]))
    gain = 0.0 if first == last else last - first
    return -math.inf if math.isnan(gain) else gain  # at the top, where it is seen


def _article(entry: _Entry) -> str:
    last = entry.comparison
    name = html.escape(last.image)
    pictures = "".join(
        f'<img{" class=lr" if place == 0 else ""} src="{source}" alt="{html.escape(shown)}" '
        f'loading="lazy" decoding="async" draggable="false">'
        for place, (shown, source) in enumerate(entry.pictures)
    )
    psnr = last.metrics["psnr"]
    return (
        f'<article data-name="{name}" data-dataset="{html.escape(last.dataset)}" '
        f'data-gain="{_plain(_gain(entry))}" data-psnr="{_plain(psnr)}">'
        f'<div class="pair" style="aspect-ratio: {entry.width} / {entry.height}">{pictures}'
        f'<span class="divider"></span><span class="tag l"></span><span class="tag r"></span>'
        f'<input type="range" min="0" max="100" step="0.5" value="50" '
        f'aria-label="{name}: where left ends and right begins"></div>'
        f'<div class="card"><h3>{breakable(last.image)}</h3>{_metrics_table(entry.scores)}</div>'
        "</article>"
    )


def _metrics_table(scores: Sequence[ImageScore]) -> str:
    metrics = list(scores[0].metrics)
    heads = "".join(f"<th>{html.escape(METRICS[metric].title)}</th>" for metric in metrics)
    rows = "".join(
        f"<tr><td class=name>{breakable(score.method)}</td>"
        + "".join(f"<td>{number(score.metrics[metric], metric)}</td>" for metric in metrics)
        + "</tr>"
        for score in scores
    )
    return f'<div class="scroll"><table><tr><th></th>{heads}</tr>{rows}</table></div>'


def _options(values: Sequence[str], chosen: int | None = None) -> str:
    return "".join(
        f"<option{' selected' if place == chosen else ''}>{html.escape(value)}</option>"
        for place, value in enumerate(values)
    )


def _encode(image: Array, kind: str) -> str:
    """Pixels as the address of a picture: PNG, or JPEG with all of its colour."""
    from PIL import Image as Pillow

    pixels = image[..., 0] if image.shape[2] == 1 else image
    buffer = io.BytesIO()
    how: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _plain(value: float) -> str:
    """A number for the page's script, to which the rest is text."""
    return f"{value:.6f}" if math.isfinite(value) else "inf" if value > 0 else "-inf"


def _json(scores: Sequence[ImageScore]) -> str:
    """All numbers, for programs; infinities are null, and no text can end the script."""
    plain = [asdict(score) for score in scores]
    for score in plain:
        metrics = score["metrics"].items()
        score["metrics"] = {name: v if math.isfinite(v) else None for name, v in metrics}
    return json.dumps(plain).replace("<", "\\u003c").replace("&", "\\u0026")
