"""Counts the strip that the screen really scored: the pixels of cells whose score is a number from 0 to 1."""

from collections.abc import Mapping

import numpy as np

from linewatch.contracts.frame import StripEdges, extent
from linewatch.contracts.tile import Tile


def scored_cells(score_map: np.ndarray, cell_px: int, seen: Tile) -> np.ndarray | None:
    """Return which cells of a screen tile have a score in 0..1, bool like `score_map`; None when all of the tile has.

    score_map: float (tile lines / cell_px, tile width / cell_px). NaN and infinities are no score.
    """
    cells = -(-seen.lines // cell_px), -(-seen.width // cell_px)
    low, high = score_map.min(initial=0.0), score_map.max(initial=1.0)
    if low >= 0 and high <= 1 and score_map.shape == cells:  # false where any score is NaN
        return None
    return np.asarray((score_map >= 0) & (score_map <= 1))


def scored_px(
    scored: Mapping[Tile, np.ndarray | None], seen: tuple[Tile, ...], cell_px: int, strip: StripEdges, valid_lines: int
) -> int:
    """Return how many pixels of the strip have a score: on valid lines, outside unreadable columns and lines.

    scored: what `scored_cells` told of each tile that was answered. seen: the tiles that show some of the strip; they
    cover it. A pixel that several tiles show counts once, if one of them has scored it.
    """
    lines = max(0, valid_lines - extent(strip.dark_lines) - extent(strip.bright_lines))
    unreadable = (*strip.dark_columns, *strip.bright_columns, *strip.dirty_columns)
    columns = strip.width_px - extent(unreadable)
    if all(scored.get(tile, ()) is None for tile in seen):
        return lines * columns
    has_score = np.zeros((valid_lines, strip.right_px), bool)
    for tile, cells in scored.items():
        view = has_score[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width]
        if cells is None:
            view[:] = True
            continue
        pixels = cells.repeat(cell_px, 0).repeat(cell_px, 1)[: view.shape[0], : view.shape[1]]
        view[: pixels.shape[0], : pixels.shape[1]] |= pixels
    for start, stop in (*strip.dark_lines, *strip.bright_lines):
        has_score[start:stop] = False
    for start, stop in ((0, strip.left_px), *unreadable):
        has_score[:, start:stop] = False
    return int(np.count_nonzero(has_score))
