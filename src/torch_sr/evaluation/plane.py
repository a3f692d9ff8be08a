"""The plane of perception and distortion, and the point on it that is the best of both.

Blau and Michaeli 2018, "The Perception-Distortion Tradeoff": better is up on one axis and to the
right on the other, and no method reaches the corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_GROUPS = ("#d64026", "#2f8f5b")


@dataclass(frozen=True)
class PlanePoint:
    """A method on the plane; those of one group are joined by a line, in their order."""

    method: str
    x: float
    y: float
    group: str | None = None


def nearest_to_ideal(
    points: Sequence[PlanePoint], *, lower_is_better_y: bool = True
) -> PlanePoint | None:
    """The point that is nearest to the best x and the best y of them all.

    Both measures are scaled to [0, 1], from their best to their worst among the points. Of points
    equally near, the first is taken.

    Args:
        points: of finite values; the others are left out. More of x is better.
        lower_is_better_y: else more of y is better, too.

    Returns:
        None where no point is finite.
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
) -> npt.NDArray[np.uint8]:
    """Draw methods by distortion and perception, ``(H, W, 3)`` uint8.

    Args:
        points: of finite values; the others are left out.
        x_label, y_label: the measures; more of x is better.
        lower_is_better_y: turns the axis of y, so that better is up.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [point for point in points if np.isfinite(point.x) and np.isfinite(point.y)]
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    groups = dict.fromkeys(point.group for point in shown if point.group is not None)
    colours = dict(zip(groups, _GROUPS, strict=False))
    for group in groups:
        line = [point for point in shown if point.group == group]
        x, y = [p.x for p in line], [p.y for p in line]
        axes.plot(x, y, "o-", color=colours[group], zorder=1, lw=1.4, ms=6, label=group)
    for point in shown:
        colour = "#8a8f98" if point.method == "bicubic" else "#2a6f97"
        colour = colour if point.group is None else colours[point.group]
        axes.scatter([point.x], [point.y], s=46, color=colour, zorder=2)
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
    canvas: Any = FigureCanvasAgg(figure)  # whose methods have no types
    canvas.draw()
    drawn: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return drawn


def _label_points(axes: Any, points: Sequence[PlanePoint]) -> None:
    """Write each name beside its point, where none is yet; of groups what follows their name."""
    figure = axes.figure
    figure.draw_without_rendering()
    taken: list[Any] = []
    told = set()
    offsets = [(8, 6), (8, -14), (-8, 6), (-8, -14), (0, 14), (0, -22), (14, 22), (14, -30)]
    for point in points:
        label = point.method.removeprefix(f"{point.group} ")
        if (here := (label, round(point.x, 4), round(point.y, 4))) in told:
            continue  # two groups meet there
        told.add(here)
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
            )
            extent = text.get_window_extent()
            if not any(extent.overlaps(other) for other in taken) or (dx, dy) == offsets[-1]:
                taken.append(extent)
                break
            text.remove()
