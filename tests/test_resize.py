"""resize.py against MATLAB's own files, a dense-matrix restatement of imresize, and Pillow."""

import math

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.data.resize import crop_to_multiple, downscale, imresize
from torch_sr.errors import DataError

EDGES = ("replicate", "symmetric")


def kernel(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def dense_matrix(length, scale, edge):
    """``(ceil(length * scale), length)``: MATLAB's weights, one scalar after another."""
    matrix = np.zeros((math.ceil(length * scale), length))
    stretch = min(scale, 1)
    mirror = [*range(length), *reversed(range(length))]
    for row in range(len(matrix)):
        center = (row + 0.5) / scale - 0.5
        reach = math.ceil(2 / stretch) + 1
        for position in range(math.floor(center) - reach, math.floor(center) + reach + 1):
            inside = min(max(position, 0), length - 1)
            column = inside if edge == "replicate" else mirror[position % (2 * length)]
            matrix[row, column] += kernel((center - position) * stretch)
        matrix[row] /= matrix[row].sum()
    return matrix


def dense_imresize(image, scale, edge):
    for axis in (0, 1):
        matrix = dense_matrix(image.shape[axis], scale, edge)
        result = np.moveaxis(np.tensordot(matrix, image.astype(float), (1, axis)), 0, axis)
        if np.issubdtype(image.dtype, np.integer):
            result = np.clip(np.floor(result + 0.5), 0, np.iinfo(image.dtype).max)
        image = result.astype(image.dtype)
    return image


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.7, 1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("shape", [(13, 9), (6, 11, 3), (1, 5), (2, 2, 1)])
def test_agrees_with_dense_matrices(shape, scale, edge):
    image = np.random.default_rng(3).random(shape)
    result = imresize(image, scale, edge)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, dense_imresize(image, scale, edge), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("scale", [1 / 2, 1 / 4, 2, 4])  # weights exact in binary: so are ties
def test_integers_are_rounded_after_each_pass(dtype, scale, edge):
    rng = np.random.default_rng(4)
    image = rng.integers(0, np.iinfo(dtype).max, (24, 20, 3), dtype, endpoint=True)
    result = imresize(image, scale, edge)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, dense_imresize(image, scale, edge))


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
def test_agrees_with_pillow_away_from_borders(photo, scale_factor):
    image = photo(96, 72, 1, np.float32)[..., 0]
    pillow = PillowImage.fromarray(image).resize(
        (72 // scale_factor, 96 // scale_factor), PillowImage.Resampling.BICUBIC
    )
    inner = (slice(2, -2), slice(2, -2))
    result = downscale(image, scale_factor)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[inner], np.asarray(pillow)[inner], rtol=0, atol=1e-6)


def test_symmetric_edge_is_a_mirrored_image(photo):
    image = photo(20, 28)
    mirrored = np.pad(image, ((12, 12), (12, 12), (0, 0)), mode="symmetric")
    expected = downscale(mirrored, 4)[3:-3, 3:-3]
    np.testing.assert_array_equal(downscale(image, 4, "symmetric"), expected)
    assert (downscale(image, 4) != expected).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("edge", EDGES)
def test_a_constant_stays_constant(dtype, edge):
    top = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    for scale in (1 / 4, 1 / 3, 2.5):
        result = imresize(np.full((1, 7), top, dtype), scale, edge)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.astype(float), top, rtol=1e-6)


def test_one_pixel_grows():
    assert imresize(np.array([[[1, 2, 3]]], np.uint8), 4.0).tolist() == [[[1, 2, 3]] * 4] * 4


def test_floats_are_neither_clipped_nor_rounded():
    image = np.zeros((8, 8))
    image[:, 4:] = 3.0
    result = imresize(image, 2)
    assert result.min() < -0.05
    assert result.max() > 3.05


def test_sizes_that_do_not_divide_are_cropped(photo):
    image = photo(31, 26)
    np.testing.assert_array_equal(downscale(image, 4), downscale(image[:28, :24], 4))
    assert crop_to_multiple(image, 3).shape == (30, 24, 3)
    np.testing.assert_array_equal(downscale(image, 1), image)


@pytest.mark.parametrize("scale_factor", range(1, 17))
def test_whole_factors_give_whole_sizes(scale_factor):
    for length in range(1, 500, 7):
        assert downscale(np.zeros((length * scale_factor, scale_factor)), scale_factor).shape == (
            length,
            1,
        )


def test_strided_views_and_the_input_stay_as_they_are(photo):
    image = photo(16, 24)
    before = image.copy()
    view = image[::-1, ::2].transpose(1, 0, 2)
    np.testing.assert_array_equal(imresize(view, 0.5), imresize(view.copy(), 0.5))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "scale", "words"),
    [
        (np.zeros(4), 2.0, "shape"),
        (np.zeros((2, 2, 2, 2)), 2.0, "shape"),
        (np.zeros((0, 4)), 2.0, "shape"),
        (np.zeros((4, 4), np.int32), 2.0, "int32"),
        (np.zeros((4, 4), bool), 2.0, "bool"),
        (np.zeros((4, 4)), 0.0, "scale 0"),
        (np.zeros((4, 4)), -1.0, "scale -1"),
        (np.zeros((4, 4)), math.nan, "scale nan"),
        (np.zeros((4, 4)), math.inf, "scale inf"),
    ],
)
def test_bad_input_is_refused(image, scale, words):
    with pytest.raises(DataError, match=words):
        imresize(image, scale)


def test_downscale_refuses_what_leaves_nothing():
    with pytest.raises(DataError, match="5x3 pixels is too small for scale factor 4"):
        downscale(np.zeros((3, 5)), 4)
    with pytest.raises(DataError, match="scale factor 0"):
        downscale(np.zeros((3, 5)), 0)
    with pytest.raises(DataError, match="shape"):
        downscale(np.zeros(5), 2)
