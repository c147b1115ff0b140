"""The grid of tiles over a frame, and which of its tiles show strip."""

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.tile import Tile


def tile_grid(
    lines: int, width: int, tile_lines: int, tile_width: int, min_overlap: int = 0, cell_px: int = 1
) -> tuple[Tile, ...]:
    """Return the fewest tiles of one size that cover a frame of (lines, width) pixels, evenly spread, left to right.

    Neighbours overlap by at least `min_overlap` pixels. Every tile begins at a multiple of `cell_px`, which must divide
    its sides. Tiles never extend beyond the frame: a frame smaller than a tile raises ConfigError, because an engine
    would otherwise judge pixels that do not exist; so does a frame that is not a whole number of cells.
    """
    if tile_lines > lines or tile_width > width:
        raise ConfigError(
            f"a tile of {tile_lines} lines x {tile_width} px does not fit a frame of {lines} lines x {width} px; "
            "make line.frame_lines and line.width_px at least as large as the engine's input, or take a smaller engine"
        )
    if not 0 <= min_overlap < min(tile_lines, tile_width):
        raise ConfigError(f"tiles cannot overlap by {min_overlap} px; expected 0 to {min(tile_lines, tile_width) - 1}")
    if lines % cell_px or width % cell_px:
        raise ConfigError(
            f"a frame of {lines} lines x {width} px is no whole number of the engine's cells of {cell_px} px; make "
            f"line.frame_lines and line.width_px multiples of {cell_px}"
        )
    return tuple(
        Tile(x, y, tile_width, tile_lines)
        for x in _starts(width, tile_width, min_overlap, cell_px)
        for y in _starts(lines, tile_lines, min_overlap, cell_px)
    )


def _starts(extent: int, tile: int, min_overlap: int, cell_px: int) -> list[int]:
    beyond, step = (extent - tile) // cell_px, max(1, (tile - min_overlap) // cell_px)
    steps = -(-beyond // step)
    return [i * beyond // steps * cell_px for i in range(steps + 1)] if steps else [0]


def tiles_on(tiles: tuple[Tile, ...], edges: StripEdges, valid_lines: int | None = None) -> tuple[Tile, ...]:
    """Return the tiles, in order, that show part of the strip and, if given, of the first `valid_lines` lines."""
    return tuple(
        tile
        for tile in tiles
        if max(tile.x, edges.left_px) < min(tile.x + tile.width, edges.right_px)
        and (valid_lines is None or tile.y < valid_lines)
    )
