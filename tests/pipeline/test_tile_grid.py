"""Images cut into tiles that overlap, and what is said of tiles joined again."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cell_grid import CellGrid
from pipeline.tile_grid import MOST_TILES, TileGrid, overlap_of, tiles_at_own_size

GRID = TileGrid.of((2, 3), 256)


def test_tiles_cover_the_canvas_and_overlap_by_a_quarter() -> None:
    assert (GRID.overlap, GRID.canvas, GRID.count) == (64, (448, 640), 6)
    image = np.random.default_rng(0).integers(0, 255, (448, 640, 3), np.uint8)
    tiles = GRID.cut(image)
    assert [tile.shape for tile in tiles] == [(256, 256, 3)] * 6
    np.testing.assert_array_equal(tiles[4], image[192:448, 192:448])
    assert np.shares_memory(tiles[4], image)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_map_that_is_cut_and_joined_is_itself_on_every_grid(stride: int) -> None:
    whole = np.random.default_rng(1).normal(size=(448 // stride, 640 // stride)).astype(np.float32)
    tiles = GRID.unstacked(GRID.stacked(whole))
    np.testing.assert_array_equal(GRID.largest(tiles), whole)
    np.testing.assert_array_equal(GRID.innermost(tiles), whole)
    side = 256 // stride
    rows, columns = np.indices((6 * side, side)).reshape(2, -1)
    assert (GRID.stacked(whole).ravel() == whole[GRID.on_canvas(rows, columns, side)]).all()


def test_where_tiles_overlap_the_largest_counts_and_what_is_not_a_number_does_before_any() -> None:
    tiles = [np.full((8, 8), index, np.float32) for index in range(6)]
    tiles[1][0, 0] = np.nan  # the first column of the second tile lies under the first one's last two
    whole = GRID.largest(tiles)
    assert whole.shape == (14, 20)
    assert np.isnan(whole[0, 6])
    assert (whole[0, 5], whole[0, 7], whole[13, 19]) == (0, 1, 5)
    tiles[1][0, 0] = 1
    assert GRID.innermost(tiles)[0, 5:9].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("size", "side", "most", "expected"),
    [
        ((512, 512), 256, MOST_TILES, (2, 2)),
        ((1024, 2048), 256, MOST_TILES, (5, 10)),
        ((1024, 2048), 256, 18, (3, 6)),
        ((200, 300), 256, MOST_TILES, (1, 1)),
        ((10_000, 10_000), 512, MOST_TILES, (24, 24)),
        ((512, 512), 256, 1, (1, 1)),
    ],
)
def test_as_many_tiles_as_show_an_image_at_its_own_size(
    size: tuple[int, int], side: int, most: int, expected: tuple[int, int]
) -> None:
    assert tiles_at_own_size(size, side, most) == expected


@pytest.mark.parametrize(("side", "overlap"), [(64, 32), (224, 64), (256, 64), (288, 64), (384, 96), (512, 128)])
def test_the_grids_of_all_strides_divide_the_overlap(side: int, overlap: int) -> None:
    assert overlap_of(side) == overlap


@pytest.mark.parametrize("shape", [(1, 1), (0, 4), (25, 24)])
def test_a_grid_has_two_tiles_or_more_and_not_too_many(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 2 to 576 tiles"):
        TileGrid.of(shape, 256)


def test_a_mask_is_cut_as_the_image_is() -> None:
    mask = np.zeros((896, 1280), np.bool_)
    mask[:20, 640:656] = True  # of the canvas, the middle of its upper border: in the second tile alone
    shares = CellGrid((6 * 32, 32), GRID).shares(mask).numpy()
    assert shares.shape == (192, 32)
    marked = [tile.sum() > 0 for tile in GRID.unstacked(shares)]
    assert marked == [False, True, False, False, False, False]
    assert shares[32, 16] == pytest.approx(1.0)


def test_only_tiles_that_show_a_place_inside_best_are_looked_at() -> None:
    inside = np.zeros((14, 20), np.bool_)  # of 32 px; tiles of 8 cells that overlap by 2, whose middles are 7 and 13
    inside[2:4, 6] = True  # the last but one column of the first tile, and the first of the second
    assert GRID.within(inside).seen == (0,)
    inside[10, 13:] = True
    some = GRID.within(inside)
    assert (some.seen, some.count, some.canvas) == ((0, 5), 2, GRID.canvas)
    assert GRID.within(np.ones((14, 20), np.bool_)) == GRID

    whole = np.random.default_rng(2).normal(size=(14, 20)).astype(np.float32)
    tiles = some.unstacked(some.stacked(whole))
    assert [tile.tolist() for tile in tiles] == [whole[:8, :8].tolist(), whole[6:, 12:].tolist()]
    seen = np.zeros((14, 20), np.bool_)
    seen[:8, :8] = seen[6:, 12:] = True
    joined = some.largest(tiles)
    np.testing.assert_array_equal(joined[seen], whole[seen])
    assert (joined[~seen] == min(tile.min() for tile in tiles)).all()
    assert (some.largest([np.full_like(tile, 3) for tile in tiles])[~seen] == 0).all()
    nearest = some.innermost(tiles)
    np.testing.assert_array_equal(nearest[:7, :7], whole[:7, :7])
    np.testing.assert_array_equal(nearest[7:, 13:], whole[7:, 13:])
    assert not nearest[:7, 7:].any()
    rows, columns = np.indices((16, 8)).reshape(2, -1)
    assert (some.stacked(whole).ravel() == whole[some.on_canvas(rows, columns, 8)]).all()


@pytest.mark.parametrize("seen", [(), (1, 1), (2, 1), (-1, 2), (0, 6)])
def test_numbers_that_are_no_tiles_are_refused(seen: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected numbers of 2 x 3 tiles"):
        TileGrid(rows=2, columns=3, side=256, overlap=64, seen=seen)


def test_with_a_region_as_many_tiles_as_are_looked_at_count() -> None:
    assert tiles_at_own_size((1024, 2048), 256, 18, lambda rows, columns: rows * columns // 3) == (5, 10)
