"""Write the strip of a sweep, and the plane of its means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_sr.evaluation.compare import ImageScore
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.perception_distortion import (
    PlanePoint,
    draw_means,
    nearest_to_ideal,
    plane_points,
)
from torch_sr.evaluation.presentation.strips import draw_strip
from torch_sr.evaluation.statistics import overall_means
from torch_sr.evaluation.store import store_image
from torch_sr.images import read_image


def write_strip(file: Path, image: Path, methods: Sequence[Method], scale_factor: int) -> None:
    """Draw one place of an image under all methods, a row for each group.

    Raises:
        ImageError: the image cannot be read, or the file cannot be written.
    """
    groups = list(dict.fromkeys(method.group for method in methods))
    rows = [[method for method in methods if method.group == group] for group in groups]
    store_image(file, draw_strip(read_image(image).to_array(), rows, scale_factor))


def write_plane(
    file: Path, methods: Sequence[Method], scores: Sequence[ImageScore], perceptual: str
) -> list[PlanePoint]:
    """Draw every method's means over all images, under the main protocol.

    Args:
        file: PNG.
        methods: those that were measured.
        scores: the scores of every image; the protocol of the first is the main one.
        perceptual: the metric of the y axis.

    Returns:
        The points.
    """
    main = [score for score in scores if score.protocol == scores[0].protocol]
    points = plane_points(methods, overall_means(main), perceptual)
    store_image(file, draw_means(points, perceptual))
    return points


def best_alpha(points: Sequence[PlanePoint], perceptual: str) -> float | None:
    """The alpha of the interpolated network nearest to the ideal; None if no mean is finite."""
    networks = [point for point in points if point.group == "networks"]
    lower_is_better = not METRICS[perceptual].higher_is_better
    best = nearest_to_ideal(networks, lower_is_better_y=lower_is_better)
    return None if best is None else best.alpha
