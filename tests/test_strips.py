"""strips.py and upscaled_sheet.py: the place shown is the same under every method."""

import numpy as np
from PIL import Image as Pillow

from torch_sr.data.resize import imresize
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.presentation.places import busiest_place
from torch_sr.evaluation.presentation.strips import draw_strip
from torch_sr.evaluation.presentation.upscaled_sheet import draw_upscaled

CELL, STEP = 256, 276


def enlarged(lr):
    return lr.repeat(4, axis=0).repeat(4, axis=1)


def test_the_busiest_place_has_the_most_edges():
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:60:2, 50:90] = 255
    top, left, side = busiest_place(image, 40)
    assert (top, left, side) == (20, 50, 40)
    assert busiest_place(image[:12, :30], 40)[2] == 12


def test_a_strip_shows_one_place_under_bicubic_and_every_method(photo):
    lr = photo(90, 120)
    strip = draw_strip(lr, [[Method("nearest", enlarged)]], 4)
    top, left, side = busiest_place(lr)
    place = np.s_[top * 4 : (top + side) * 4, left * 4 : (left + side) * 4]
    bicubic, nearest = (strip[20 : 20 + CELL, 20 + STEP * n : 20 + STEP * n + CELL] for n in (0, 1))
    np.testing.assert_array_equal(nearest, enlarged(lr)[place])
    np.testing.assert_array_equal(bicubic, imresize(lr, 4.0)[place])


def test_a_sheet_of_an_upscaled_image_shows_the_bicubic_of_the_project(photo, tmp_path):
    lr = photo(90, 120)
    for name, pixels in (("lr.png", lr), ("sr.png", imresize(lr, 8.0))):
        Pillow.fromarray(pixels).save(tmp_path / name)
    sheet = draw_upscaled(tmp_path / "lr.png", tmp_path / "sr.png")
    left = sheet.shape[1] - 2 * 532
    panels = [sheet[54 : 54 + 512, left + 532 * n : left + 532 * n + 512] for n in (0, 1)]
    np.testing.assert_array_equal(*panels)
    assert panels[0].std() > 1
