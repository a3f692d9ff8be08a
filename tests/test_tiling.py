"""tiling.py: every property on many lengths, tile sizes and overlaps."""

from itertools import pairwise

import numpy as np
import pytest

from torch_sr.tiling import Joiner, plan, spans


def cases():
    """Every length up to 600, each with a few tile sizes and overlaps; small ones in all."""
    rng = np.random.default_rng(11)
    for length in range(1, 601):
        for _ in range(3):
            yield length, int(rng.integers(1, 300)), int(rng.integers(0, 33))
    for length in range(1, 41):
        for tile_size in (1, 5, 9, 13, 20):
            for overlap in (0, 1, 2, 3):
                yield length, tile_size, overlap


CASES = list(cases())


def total_weights(tiles, length, scale_factor):
    total = np.zeros(length * scale_factor)
    used = np.zeros(length * scale_factor, int)
    for tile in tiles:
        weights = tile.weights(scale_factor)
        inside = slice(tile.start * scale_factor, tile.stop * scale_factor)
        total[inside] += weights
        used[inside] += weights > 0
    return total, used


def test_equal_tiles_cover_the_axis():
    for length, tile_size, overlap in CASES:
        tiles = spans(length, tile_size, overlap)
        case = (length, tile_size, overlap, tiles)
        assert tiles[0].start == 0, case
        assert tiles[-1].stop == length, case
        assert len({tile.stop - tile.start for tile in tiles}) == 1, case
        assert 1 <= tiles[0].stop <= max(tile_size, 4 * overlap + 1), case
        for before, after in pairwise(tiles):
            # In order, so the rows above the next tile's start are final: bands are yielded there.
            assert before.start < after.start <= before.stop - 2 * overlap, case


def test_no_more_tiles_than_needed():
    for length, tile_size, overlap in CASES:
        size = max(tile_size, 4 * overlap + 1)
        count = len(spans(length, tile_size, overlap))
        fewer = count - 1
        assert fewer == 0 or fewer * size - (fewer - 1) * 2 * overlap < length


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4, 8])
def test_weights_sum_to_one_and_two_tiles_at_most_mix(scale_factor):
    for length, tile_size, overlap in CASES[:: 1 if scale_factor < 3 else 3]:
        tiles = spans(length, tile_size, overlap)
        total, used = total_weights(tiles, length, scale_factor)
        case = (length, tile_size, overlap, tiles)
        assert np.abs(total - 1).max() <= 1e-6, case
        assert used.max() <= 2, case


def test_weights_are_between_zero_and_one():
    for length, tile_size, overlap in CASES[::5]:
        for tile in spans(length, tile_size, overlap):
            weights = tile.weights(2)
            assert weights.dtype == np.float32
            assert weights.shape == (2 * (tile.stop - tile.start),)
            assert weights.min() >= 0
            assert weights.max() <= 1


def test_the_pixels_next_to_an_inner_edge_are_left_out():
    for length, tile_size, overlap in CASES[::5]:
        left_out = overlap // 2
        tiles = spans(length, tile_size, overlap)
        for tile in tiles:
            weights = tile.weights(1)
            if tile is not tiles[0]:
                assert not weights[:left_out].any()
            if tile is not tiles[-1]:
                assert not weights[len(weights) - left_out :].any()


def test_a_ramp_fades_across_the_seam_without_a_step():
    tiles = spans(300, 128, 16)
    assert len(tiles) == 3
    steps = np.diff(tiles[1].weights(4))
    assert np.abs(steps).max() <= 1 / (16 * 4) + 1e-6


def test_blending_gives_back_the_signal():
    signal = np.random.default_rng(0).random(500)
    result = np.zeros(500)
    for tile in spans(500, 96, 12):
        result[tile.start : tile.stop] += signal[tile.start : tile.stop] * tile.weights(1)
    np.testing.assert_allclose(result, signal, atol=1e-6)


def test_one_tile_where_it_fits():
    (tile,) = spans(64, 64, 16)
    assert (tile.start, tile.stop) == (0, 64)
    assert (tile.weights(4) == 1).all()


def test_joining_gives_back_the_signal_and_holds_little_memory():
    rng = np.random.default_rng(3)
    for length, tile_size, overlap in CASES[::7]:
        for scale_factor in (1, 2, 3):
            signal = rng.random((2, length * scale_factor, 1)).astype(np.float32)
            joiner, parts = Joiner(1, scale_factor), []
            for tile in spans(length, tile_size, overlap):
                inside = slice(tile.start * scale_factor, tile.stop * scale_factor)
                parts.append(joiner.add(tile, signal[:, inside].copy()))
            joined = np.concatenate(parts, axis=1)
            np.testing.assert_allclose(joined, signal, atol=1e-6)


def test_plans_fit_their_area_and_do_no_more_work_than_squares():
    rng = np.random.default_rng(5)
    for _ in range(300):
        height, width = (int(2 ** rng.uniform(0, 13)) for _ in "hw")
        overlap = int(rng.integers(0, 33))
        least = 4 * overlap + 1
        side = int(rng.integers(least, 600))
        rows, columns = plan(height, width, overlap, side * side)
        case = (height, width, overlap, side)
        tile = rows[0].stop * columns[0].stop
        assert tile <= side * side, case
        squares = spans(height, side, overlap), spans(width, side, overlap)
        work = tile * len(rows) * len(columns)
        assert work <= squares[0][0].stop * len(squares[0]) * squares[1][0].stop * len(
            squares[1]
        ), case


def test_a_plan_keeps_tiles_wide_enough_even_for_a_tiny_area():
    rows, columns = plan(500, 500, 16, 1)
    assert rows[0].stop <= 65
    assert columns[0].stop <= 65
    assert plan(10, 20, 16, 1)[0] == [spans(10, 10, 16)[0]]
    assert plan(5000, 30, 16, 10_000, max_rows=100)[0][0].stop <= 100
