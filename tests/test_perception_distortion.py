"""perception_distortion.py: the plane, and its point nearest to the best of both."""

from __future__ import annotations

import numpy as np
import pytest

from torch_sr.evaluation.presentation.perception_distortion import (
    PlanePoint,
    draw_plane,
    nearest_to_ideal,
)

GRAY = (138, 143, 152)


def test_the_plane_inverts_its_axis_and_leaves_out_infinities():
    points = [
        PlanePoint("bicubic", 26, 0.4),
        PlanePoint("alpha 0", 28, 0.25, "networks", 0.0),
        PlanePoint("alpha 1", 26.5, 0.2, "networks", 1.0),
        PlanePoint("perfect", float("inf"), 0.0),
    ]
    turned = draw_plane(points, "PSNR (dB)", "LPIPS")
    plain = draw_plane(points, "PSNR (dB)", "LPIPS", lower_is_better_y=False)
    assert turned.shape == plain.shape == (720, 960, 3)

    def height_of_bicubic(drawn):
        return np.nonzero((drawn == GRAY).all(axis=2))[0].mean()

    assert height_of_bicubic(turned) > 400 > height_of_bicubic(plain)  # rows count downwards
    assert draw_plane([], "PSNR (dB)", "LPIPS").shape == (720, 960, 3)


def points(*places):
    return [PlanePoint(f"alpha {n}", x, y) for n, (x, y) in enumerate(places)]


def test_the_nearest_point_is_found_on_scaled_metrics():
    # Scaled losses: (0, 1), (0.25, 0.25), (1, 0); the units of y do not matter.
    for unit in (1.0, 1000.0):
        line = points((30, 4 * unit), (29, 1 * unit), (26, 0))
        assert nearest_to_ideal(line).method == "alpha 1"
    assert nearest_to_ideal(points((30, 0), (29, 3)), lower_is_better_y=False).method == "alpha 0"


def test_ties_infinities_and_no_points():
    assert nearest_to_ideal(points((1, 1), (0, 0))).method == "alpha 0"
    assert nearest_to_ideal(points((float("inf"), 1), (3, float("nan")), (2, 2))).x == 2
    assert nearest_to_ideal([]) is None
    assert nearest_to_ideal(points((5, 5), (5, 5))).method == "alpha 0"


@pytest.mark.parametrize("lower", [True, False])
def test_the_nearest_agrees_with_a_search_by_hand(lower):
    rng = np.random.default_rng(3)
    places = rng.normal(size=(20, 2))
    best = nearest_to_ideal(points(*places), lower_is_better_y=lower)
    x, y = places.T
    first = (x.max() - x) / (x.max() - x.min())
    second = ((y - y.min()) if lower else (y.max() - y)) / (y.max() - y.min())
    assert best.method == f"alpha {int(np.argmin(first**2 + second**2))}"
