"""Cut tiles out of a frame, and put the engines' answers for tiles back together."""

from collections.abc import Sequence

import numpy as np

from linewatch.contracts.frame import StripEdges
from linewatch.contracts.tile import Tile


def cut(pixels: np.ndarray, tile: Tile) -> np.ndarray:
    """Return the tile's view (tile.lines, tile.width) of a frame's pixels (lines, width), without a copy."""
    return pixels[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width]


def stitch(tiles: Sequence[Tile], parts: np.ndarray, lines: int, width: int) -> np.ndarray:
    """Lay parts (len(tiles), tile.lines, tile.width) into a new frame (lines, width) of the same dtype.

    Where tiles overlap the highest value wins; where no tile lies the value is 0. The order of tiles does not matter.
    """
    frame = np.zeros((lines, width), dtype=parts.dtype)
    for tile, part in zip(tiles, parts, strict=True):
        view = cut(frame, tile)
        np.maximum(view, part, out=view)
    return frame


def screen_tile_scores(
    score_map: np.ndarray, cell_px: int, tiles: Sequence[Tile], edges: StripEdges, valid_lines: int | None = None
) -> np.ndarray:
    """Return the score of each tile from a whole-frame screen: its highest cell on the strip, float32 (len(tiles),).

    score_map: float (frame lines / cell_px, frame width / cell_px). A cell counts for every tile that it touches. Cells
    entirely off the strip, or entirely at or after `valid_lines`, are ignored; a tile without cells scores 0.
    """
    scores = np.zeros(len(tiles), dtype=np.float32)
    for i, tile in enumerate(tiles):
        if (cells := cells_on_strip(tile, cell_px, edges, valid_lines)) is not None:
            scores[i] = score_map[cells].max(initial=0.0)
    return scores


def cells_on_strip(
    tile: Tile, cell_px: int, edges: StripEdges, valid_lines: int | None = None
) -> tuple[slice, slice] | None:
    """Return the cells, as rows and columns of the frame's map, that touch the part of a tile on the strip.

    None when there is no strip in the tile before `valid_lines`.
    """
    top, bottom = tile.y, tile.y + tile.lines
    if valid_lines is not None:
        bottom = min(bottom, valid_lines)
    left, right = max(tile.x, edges.left_px), min(tile.x + tile.width, edges.right_px)
    if left >= right or top >= bottom:
        return None
    return slice(top // cell_px, -(-bottom // cell_px)), slice(left // cell_px, -(-right // cell_px))
