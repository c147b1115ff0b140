"""The grid covers a frame exactly, and stitching is the inverse of cutting."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.tile import Tile
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut, screen_tile_scores, stitch


@st.composite
def grids(draw):
    tile_lines, tile_width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    lines, width = draw(st.integers(tile_lines, 120)), draw(st.integers(tile_width, 160))
    overlap = draw(st.integers(0, min(tile_lines, tile_width) - 1))
    return lines, width, tile_lines, tile_width, overlap


@st.composite
def strips(draw, width):
    left = draw(st.integers(0, width))
    return StripEdges(left, draw(st.integers(left, width)), True, True)


def test_the_house_camera_has_seven_evenly_spread_tiles():
    tiles = tile_grid(256, 1600, 256, 256)
    assert [tile.x for tile in tiles] == [0, 224, 448, 672, 896, 1120, 1344]
    assert {(tile.y, tile.lines, tile.width) for tile in tiles} == {(0, 256, 256)}


@pytest.mark.parametrize(("width", "count"), [(256, 1), (257, 2), (2048, 8), (4096, 16), (4097, 17)])
def test_other_widths_have_as_few_tiles_as_cover_them(width, count):
    tiles = tile_grid(256, width, 256, 256)
    assert len(tiles) == count
    assert tiles[-1].x + tiles[-1].width == width


@given(grids())
def test_every_pixel_is_in_a_tile_and_no_tile_leaves_the_frame(grid):
    lines, width, tile_lines, tile_width, overlap = grid
    tiles = tile_grid(lines, width, tile_lines, tile_width, overlap)
    seen = np.zeros((lines, width), int)
    for tile in tiles:
        assert (tile.lines, tile.width) == (tile_lines, tile_width)
        view = cut(seen, tile)
        assert view.shape == (tile_lines, tile_width)
        view += 1
    assert seen.min() >= 1
    assert list(tiles) == sorted(set(tiles))


@given(grids())
def test_the_grid_is_minimal_and_overlaps_as_asked(grid):
    lines, width, tile_lines, tile_width, overlap = grid
    tiles = tile_grid(lines, width, tile_lines, tile_width, overlap)
    for starts, extent, size in (
        (sorted({tile.x for tile in tiles}), width, tile_width),
        (sorted({tile.y for tile in tiles}), lines, tile_lines),
    ):
        assert all(b - a <= size - overlap for a, b in pairwise(starts))
        assert size + (len(starts) - 2) * (size - overlap) < extent  # one tile fewer could not reach


@given(grids(), st.data())
def test_every_strip_pixel_is_in_a_tile_on_the_strip(grid, data):
    lines, width, tile_lines, tile_width, overlap = grid
    tiles = tile_grid(lines, width, tile_lines, tile_width, overlap)
    edges = data.draw(strips(width))
    on = tiles_on(tiles, edges)
    seen = np.zeros((lines, width), bool)
    for tile in on:
        cut(seen, tile)[:] = True
        assert tile.x < edges.right_px
        assert tile.x + tile.width > edges.left_px
    assert seen[:, edges.left_px : edges.right_px].all()
    if edges.left_px == edges.right_px:
        assert on == ()


@pytest.mark.slow
@given(grids(), st.integers(0, 2**32 - 1))
def test_stitching_is_the_inverse_of_cutting(grid, seed):
    lines, width, tile_lines, tile_width, overlap = grid
    frame = np.random.default_rng(seed).integers(0, 256, (lines, width), np.uint8)
    tiles = tile_grid(lines, width, tile_lines, tile_width, overlap)
    parts = np.stack([cut(frame, tile) for tile in tiles])
    assert np.array_equal(stitch(tiles, parts, lines, width), frame)


def test_overlaps_take_the_highest_probability_in_any_order():
    tiles = (Tile(0, 0, 4, 1), Tile(2, 0, 4, 1))
    parts = np.array([[[1, 2, 3, 4]], [[9, 1, 5, 6]]], np.uint8)
    assert stitch(tiles, parts, 1, 7).tolist() == [[1, 2, 9, 4, 5, 6, 0]]
    assert np.array_equal(stitch(tiles, parts, 1, 7), stitch(tiles[::-1], parts[::-1], 1, 7))


@pytest.mark.parametrize(("size", "found"), [((100, 1600, 256, 256), "100 lines"), ((256, 200, 256, 256), "200 px")])
def test_a_frame_smaller_than_a_tile_is_refused_with_the_remedy(size, found):
    with pytest.raises(ConfigError, match=f"{found}.*at least as large"):
        tile_grid(*size)


@pytest.mark.parametrize("overlap", [-1, 256])
def test_an_impossible_overlap_is_refused(overlap):
    with pytest.raises(ConfigError, match="expected 0 to 255"):
        tile_grid(256, 1600, 256, 256, overlap)


@given(st.data(), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_a_tile_scores_the_highest_cell_that_shows_it_and_the_strip(data, cell_px, seed):
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    lines, width = rows * cell_px, columns * cell_px
    score_map = np.random.default_rng(seed).random((rows, columns), np.float32)
    tiles = tile_grid(lines, width, data.draw(st.integers(1, lines)), data.draw(st.integers(1, width)))
    edges, valid_lines = data.draw(strips(width)), data.draw(st.integers(0, lines))
    scores = screen_tile_scores(score_map, cell_px, tiles, edges, valid_lines)
    pixels = score_map.repeat(cell_px, 0).repeat(cell_px, 1)
    pixels[:, : edges.left_px] = pixels[:, edges.right_px :] = pixels[valid_lines:] = 0
    assert scores.dtype == np.float32
    assert scores.tolist() == [cut(pixels, tile).max() for tile in tiles]
