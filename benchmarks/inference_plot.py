"""The bar chart of :mod:`inference`: how many times as fast as the plain graph each engine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LABELS = {
    "eager": "PyTorch, plain graph",
    "torch": "torch-sr, PyTorch",
    "native": "torch-sr, native",
    "eager-cuda": "PyTorch, plain graph",
    "eager-cuda-fp16": "PyTorch, fp16",
    "torch-cuda": "torch-sr, CUDA",
}
_OWN, _BASE, _OTHER = "#cf4257", "#c3c8cf", "#7d93a8"
_FASTEST = ("native", "torch-cuda")
_INK, _GRAY, _PALE = "#22262b", "#6b7280", "#eceef1"
_WIDTH, _BAR = 8.8, 0.25  # inches


def draw(rows: Sequence[Mapping[str, Any]], title: str, out: Path) -> None:
    """Draw a panel of bars for each model and size: models below each other.

    Args:
        rows: of :class:`inference.Row`, as dictionaries.
        title: what was measured on.
        out: the PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.transforms import blended_transform_factory

    models = list(dict.fromkeys(row["model"] for row in rows))
    sizes = list(dict.fromkeys((row["width"], row["height"]) for row in rows))
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    figure, panels = plt.subplots(
        len(models),
        len(sizes),
        figsize=(_WIDTH, len(models) * (_BAR * len(engines) + 0.55) + 0.75),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for model, line in zip(models, panels, strict=True):
        for size, axes in zip(sizes, line, strict=True):
            own = [row for row in rows if row["model"] == model]
            _draw_bars(axes, [r for r in own if (r["width"], r["height"]) == size], engines)
            axes.set_title(f"{size[0]}x{size[1]}", loc="right", fontsize=9, color=_GRAY)
        place = blended_transform_factory(figure.transFigure, line[0].transAxes)
        name = line[0].text(0.01, 1.04, model, transform=place, fontweight="bold", color=_INK)
        name.set_in_layout(False)
    panels[0, 0].set_xlim(0, 1.3 * max(row["ratio"] for row in rows))
    panels[0, 0].set_ylim(len(engines) - 0.4, -0.6)
    figure.suptitle(
        "How many times as fast as the plain PyTorch graph",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=_INK,
    )
    figure.supxlabel(title, fontsize=8, color=_GRAY, x=0.01, ha="left")
    figure.savefig(out, dpi=100, facecolor="white")
    plt.close(figure)


def _draw_bars(axes: Any, rows: Sequence[Mapping[str, Any]], engines: Sequence[str]) -> None:
    for row in rows:
        engine, place = row["engine"], engines.index(row["engine"])
        color = _OWN if engine in _FASTEST else _BASE if engine == engines[0] else _OTHER
        axes.barh(place, row["ratio"], 0.74, color=color, zorder=3)
        weight = "bold" if engine in _FASTEST else "normal"
        label = f" {row['ratio']:.2f}"
        axes.text(
            row["ratio"], place, label, va="center", fontsize=9, color=_INK, fontweight=weight
        )
    names = [_LABELS.get(engine, engine) for engine in engines]
    axes.set_yticks(range(len(engines)), names, fontsize=9, color=_INK)
    axes.axvline(1, color=_INK, linewidth=0.7, linestyle=":", zorder=4)
    axes.grid(axis="x", color=_PALE, zorder=0)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.tick_params(axis="x", labelcolor=_GRAY, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
