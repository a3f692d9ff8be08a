"""The sheets show the right place, and contain every method."""

import numpy as np
import pytest

from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.presentation import sheets
from torch_sr.evaluation.presentation.error_maps import error_map
from torch_sr.evaluation.presentation.places import DETAIL, differing_place
from torch_sr.evaluation.presentation.sheets import describe, draw_sheet

ACCENT = (214, 64, 38)


def compare(hr, scale=4, spoilt=(slice(0), slice(0)), methods=("bicubic", "model")):
    """The first method errs by 40 in one place, all others nowhere."""
    results = {method: hr.copy() for method in methods}
    worst = results[methods[0]]
    worst[spoilt] = np.where(worst[spoilt] > 127, worst[spoilt] - 40, worst[spoilt] + 40)
    metrics = {
        method: {"psnr": 25.0 + i, "ssim": 0.8 + i / 100} for i, method in enumerate(methods)
    }
    return Comparison("set", "set/a", hr[::scale, ::scale], hr, results, metrics)


@pytest.mark.parametrize("at", [(0, 0), (64, 128), (136, 200), (70, 33)])
def test_the_place_shown_is_where_methods_differ(photo, at):
    top, left = at
    spoilt = (slice(top, top + 40), slice(left, left + 40))
    found_top, found_left, side = differing_place(compare(photo(200, 264), spoilt=spoilt))
    assert side == DETAIL
    assert found_top % 4 == found_left % 4 == 0
    assert found_top <= top
    assert found_left <= left
    assert found_top + side >= min(top + 40, 200)
    assert found_left + side >= min(left + 40, 264)


@pytest.mark.parametrize("size", [(16, 16), (12, 400), (400, 12), (63, 65)])
def test_the_largest_square_of_a_small_image_is_shown(photo, size):
    height, width = (side // 4 * 4 for side in size)
    comparison = compare(photo(height, width))
    top, left, side = differing_place(comparison)
    assert side == min(DETAIL, height // 4 * 4, width // 4 * 4)
    assert 0 <= top <= height - side
    assert 0 <= left <= width - side


def test_error_map_is_the_mean_over_channels():
    hr = np.zeros((2, 2, 3), np.uint8)
    sr = hr.copy()
    sr[0, 1] = (30, 60, 0)
    np.testing.assert_array_equal(error_map(sr, hr), [[0, 30], [0, 0]])


def holds(sheet, patch):
    """Whether a patch stands somewhere in a sheet, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, patch.shape[:2], axis=(0, 1))
    corner = patch[0, 0]
    for y, x in np.argwhere((sheet[: windows.shape[0], : windows.shape[1]] == corner).all(axis=2)):
        if (windows[y, x].transpose(1, 2, 0) == patch).all():
            return True
    return False


def test_a_sheet_shows_the_detail_of_every_method_without_smoothing(photo):
    spoilt = (slice(32, 96), slice(64, 128))
    comparison = compare(photo(128, 160), spoilt=spoilt)
    sheet = draw_sheet(comparison)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    for image in (*comparison.results.values(), comparison.hr):
        detail = image[spoilt][:8, :8]
        assert holds(sheet, detail.repeat(4, axis=0).repeat(4, axis=1))
    detail = comparison.lr[8:10, 16:18]
    assert holds(sheet, detail.repeat(16, axis=0).repeat(16, axis=1))
    assert (sheet == ACCENT).all(axis=2).sum() > 100  # the frame of the place


def test_the_better_method_has_the_darker_error_map(photo):
    comparison = compare(photo(128, 128), spoilt=(slice(0, 64), slice(0, 64)))
    sheet = draw_sheet(comparison)
    below = sheet[-256 - 20 : -20]
    left = below.shape[1] - 4 * 276
    bicubic, model = (below[:, left + 276 * n : left + 276 * n + 256] for n in (1, 2))
    assert model.mean() < 10 < bicubic.mean()


@pytest.mark.parametrize("size", [(8, 8, 1), (4, 300, 3), (300, 4, 3), (4, 4, 3)])
def test_very_small_and_narrow_images_have_sheets(photo, size):
    sheet = draw_sheet(compare(photo(*size)))
    assert sheet.shape[0] < 1200
    assert sheet.shape[1] < 2000


def test_many_methods_wrap(photo):
    methods = ["bicubic", *(f"a model of a very long name indeed, number {n}" for n in range(6))]
    few = draw_sheet(compare(photo(64, 64)))
    many = draw_sheet(compare(photo(64, 64), methods=methods))
    assert many.shape[1] == few.shape[1] + 276  # nine cells in rows of five and four
    assert many.shape[0] > 2 * few.shape[0] - 100


@pytest.mark.parametrize("count", range(1, 13))
def test_no_row_of_a_sheet_has_a_single_cell(photo, count):
    methods = [f"model {n}" for n in range(count)]
    sheet = draw_sheet(compare(photo(64, 64), methods=methods))
    left = (sheet.shape[1] - 400) // 276 * 276  # the overview is square and 360 wide
    columns, cells = left // 276, count + 2
    assert columns <= 5
    assert cells % columns != 1


def test_a_long_name_is_written_whole_on_a_sheet(photo, monkeypatch):
    written = []
    original = sheets.write_line
    monkeypatch.setattr(
        sheets,
        "write_line",
        lambda draw, at, text, *rest: (written.append(text), original(draw, at, text, *rest)),
    )
    name = "192_cr_23_rrdb_div2k_bsds500_perceptual_epoch_12000_best"
    draw_sheet(compare(photo(64, 64), methods=["bicubic", name]))
    start = next(n for n, text in enumerate(written) if text.startswith("192_cr"))
    assert name in "".join(written[start : start + 3])
    assert not any("…" in text for text in written)


def test_captions():
    assert describe({"psnr": 28.426, "ssim": 0.81}) == "28.43 dB / 0.8100"
    assert describe({"psnr": float("inf"), "ssim": 1.0, "lpips": 0.1}) == (
        "inf dB / 1.0000 / LPIPS 0.1000"
    )
