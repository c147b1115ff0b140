"""The maps of an inspect engine (`Task.INSPECT`), and what they tell of a frame's tiles.

Where the engine looks at a frame in several tiles, their maps are joined: in each cell plane 0 is the highest of the
tiles', and plane 1 as well, with the classes of the tile that it comes from. A defect that a tile's border cuts is seen
less well there, so the highest value is that of the tile that sees more of it; and as with the masks of the cascade's
tiles (`geometry.stitch`) nothing that one tile sees is lost.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from linewatch.contracts.tile import Tile
from linewatch.inference.answers import CLASSES, SLACK

SCREEN, DEFECT = 0, 1
"""Planes of the maps; the classes' shares begin at CLASSES."""


def checked_maps(maps: np.ndarray, cell_px: int, seen: Tile) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the maps of a tile with 0 in all planes of a cell that lacks a number in 0..1 in any of them, and the
    cells that have them all, bool (rows, columns); None in their place when all cells do.

    Raises ValueError for maps of another size than the tile's.
    """
    if maps.shape[1:] != (seen.lines // cell_px, seen.width // cell_px):
        raise ValueError(f"maps of {maps.shape[1:]} cells for a tile of {seen.lines} x {seen.width} px")
    if maps.min() >= 0 and maps.max() <= 1:  # false where any is NaN
        return maps, None
    good = np.asarray(((maps >= -SLACK) & (maps <= 1 + SLACK)).all(axis=0))
    return np.where(good, maps.clip(0, 1), np.float32(0)), None if good.all() else good


def joined(parts: Mapping[Tile, np.ndarray], cell_px: int, lines: int, width: int) -> np.ndarray:
    """Return the maps of a frame, float32 (planes, lines / cell_px, width / cell_px), from those of its tiles.

    Tiles begin at multiples of cell_px. 0 where no tile lies. Does not depend on the order of the parts, which are not
    copied when one of them is the whole frame.
    """
    rows, columns = lines // cell_px, width // cell_px
    if len(parts) == 1:
        (only,) = parts.values()
        if only.shape[1:] == (rows, columns):
            return only
    planes = len(next(iter(parts.values())))
    whole = np.zeros((planes, rows, columns), np.float32)
    for tile in sorted(parts, reverse=True):  # of equal values that of the first tile stays
        part, y, x = parts[tile], tile.y // cell_px, tile.x // cell_px
        there = whole[:, y : y + part.shape[1], x : x + part.shape[2]]
        np.maximum(there[SCREEN], part[SCREEN], out=there[SCREEN])
        np.copyto(there[DEFECT:], part[DEFECT:], where=part[DEFECT] >= there[DEFECT])
    return whole


def tile_of(window: tuple[slice, slice], cell_px: int, lines: int, width: int) -> Tile:
    """Return the pixels of a window of cells in a frame of so many lines and columns."""
    rows, columns = window
    x, y = columns.start * cell_px, rows.start * cell_px
    return Tile(x, y, min(columns.stop * cell_px, width) - x, min(rows.stop * cell_px, lines) - y)


def class_shares(maps: np.ndarray, windows: Sequence[tuple[slice, slice]], level: float) -> np.ndarray:
    """Return the share of each class in each window's cells that reach `level` in plane 1, which weighs them.

    float32 (len(windows), classes), from 0 to 1; 0 for a window without such a cell.
    """
    shares = np.zeros((len(windows), len(maps) - CLASSES), np.float32)
    for row, (rows, columns) in enumerate(windows):
        defect = maps[DEFECT, rows, columns]
        reaches = defect >= level
        weight = defect[reaches]
        if total := float(weight.sum(dtype=np.float64)):
            of_class = maps[CLASSES:, rows, columns][:, reaches] * weight
            shares[row] = np.minimum(of_class.sum(axis=1, dtype=np.float64) / total, 1.0)
    return shares


def draw_outlines(plane: np.ndarray, cell_px: int, tiles: Sequence[Tile], out: np.ndarray) -> None:
    """Write each tile's part of a plane of probabilities into `out`, uint8 (len(tiles), lines, width), x 255.

    A cell's value holds at its centre; between centres it is interpolated bilinearly, across the tiles' borders too.
    """
    for tile, pixels in zip(tiles, out, strict=True):
        top, left = max(0, tile.y // cell_px - 1), max(0, tile.x // cell_px - 1)
        cells = plane[
            top : -(-(tile.y + tile.lines) // cell_px) + 1,
            left : -(-(tile.x + tile.width) // cell_px) + 1,
        ]
        size = cells.shape[1] * cell_px, cells.shape[0] * cell_px
        fine = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
        y, x = tile.y - top * cell_px, tile.x - left * cell_px
        pixels[:] = cv2.convertScaleAbs(fine[y : y + tile.lines, x : x + tile.width], alpha=255)
