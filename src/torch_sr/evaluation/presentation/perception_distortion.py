"""The plane of perception and distortion, and the best point on it.

See Blau and Michaeli 2018, "The Perception-Distortion Tradeoff". Perception improves upwards, and
distortion decreases to the right; no method reaches that corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_sr.aliases import Bytes
from torch_sr.evaluation.method import BASELINE, Group, Method
from torch_sr.evaluation.metric_table import METRICS

_COLORS: dict[Group, str] = {"networks": "#d64026", "images": "#2f8f5b"}
_TITLES: dict[Group, str] = {"networks": "networks, by alpha", "images": "images, by alpha"}
_BASELINE_COLOR, _MODEL_COLOR = "#8a8f98", "#2a6f97"


@dataclass(frozen=True)
class PlanePoint:
    """A method on the plane; a line connects the methods of a group, in order."""

    method: str
    x: float
    y: float
    group: Group | None = None
    alpha: float | None = None


def plane_points(
    methods: Sequence[Method], means: Mapping[str, Mapping[str, float]], perceptual: str
) -> list[PlanePoint]:
    """A point for every method, by its means.

    Args:
        methods: those that were measured; the baseline may be missing.
        means: means by method and metric; see
            :func:`~torch_sr.evaluation.statistics.overall_means`.
        perceptual: the metric of the y axis; the x axis is PSNR.
    """
    known = {method.label: method for method in methods}
    points = []
    for label, values in means.items():
        method = known.get(label)
        group, alpha = (method.group, method.alpha) if method is not None else (None, None)
        points.append(PlanePoint(label, values["psnr"], values[perceptual], group, alpha))
    return points


def draw_means(points: Sequence[PlanePoint], perceptual: str) -> Bytes:
    """Draw the plane of PSNR and a perceptual metric; see :func:`draw_plane`."""
    row = METRICS[perceptual]
    return draw_plane(points, METRICS["psnr"].title, row.title, not row.higher_is_better)


def nearest_to_ideal(
    points: Sequence[PlanePoint], *, lower_is_better_y: bool = True
) -> PlanePoint | None:
    """The point that is nearest to the best x and the best y of all points.

    Both metrics are scaled to [0, 1], from their best to their worst among the points. If several
    points are equally near, the first is taken.

    Args:
        points: those without finite values are left out. Higher x is better.
        lower_is_better_y: whether lower y is better; otherwise higher.

    Returns:
        None if no point is finite.
    """
    found = [point for point in points if np.isfinite(point.x) and np.isfinite(point.y)]
    if not found:
        return None
    losses = np.array([[-p.x, p.y if lower_is_better_y else -p.y] for p in found], dtype=np.float64)
    losses -= losses.min(axis=0)
    spans = losses.max(axis=0)
    losses /= np.where(spans > 0, spans, 1)
    return found[int(np.argmin(np.hypot(*losses.T).round(12)))]


def draw_plane(
    points: Sequence[PlanePoint], x_label: str, y_label: str, lower_is_better_y: bool = True
) -> Bytes:
    """Draw methods by distortion and perception, ``(H, W, 3)`` uint8.

    Args:
        points: those without finite values are left out.
        x_label, y_label: the metrics; higher x is better.
        lower_is_better_y: inverts the y axis, so that up is better.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [point for point in points if np.isfinite(point.x) and np.isfinite(point.y)]
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(point.group for point in shown if point.group is not None))
    for group in groups:
        line = [point for point in shown if point.group == group]
        x, y = [p.x for p in line], [p.y for p in line]
        color = _COLORS[group]
        axes.plot(x, y, "o-", color=color, zorder=1, lw=1.4, ms=6, label=_TITLES[group])
    for point in shown:
        axes.scatter([point.x], [point.y], s=46, color=_color(point), zorder=2)
    axes.margins(0.2)
    if lower_is_better_y:
        axes.invert_yaxis()
    axes.set_xlabel(f"{x_label}, more is better →")
    better = "less" if lower_is_better_y else "more"
    axes.set_ylabel(f"{y_label}, {better} is better →")
    axes.grid(color="#e6e6e3")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if groups:
        axes.legend(frameon=False, loc="best")
    _label_points(axes, shown)
    canvas: Any = FigureCanvasAgg(figure)  # its methods are not annotated
    canvas.draw()
    drawn: Bytes = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return drawn


def _color(point: PlanePoint) -> str:
    if point.group is not None:
        return _COLORS[point.group]
    return _BASELINE_COLOR if point.method == BASELINE else _MODEL_COLOR


def _label_points(axes: Any, points: Sequence[PlanePoint]) -> None:
    """Write each label next to its point, without overlaps; in a sweep, only the alpha."""
    figure = axes.figure
    figure.draw_without_rendering()
    taken: list[Any] = []
    written = set()
    offsets = [(8, 6), (8, -14), (-8, 6), (-8, -14), (0, 14), (0, -22), (14, 22), (14, -30)]
    for point in points:
        label = _short(point.method) if point.alpha is None else f"{point.alpha:.6g}"
        if (here := (label, round(point.x, 4), round(point.y, 4))) in written:
            continue  # two groups have the same point there
        written.add(here)
        for dx, dy in offsets:
            align = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = axes.annotate(
                label,
                (point.x, point.y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=align,
                fontsize=9,
                color="#1c1e21",
                parse_math=False,  # a name may have dollar signs
            )
            extent = text.get_window_extent()
            if not any(extent.overlaps(other) for other in taken) or (dx, dy) == offsets[-1]:
                taken.append(extent)
                break
            text.remove()


def _short(text: str, most: int = 40) -> str:
    """The beginning and the end of a long label, which distinguish models."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[len(text) - half + 1 :]}"
