"""The tiles into which frames are divided: for predictions, and for the engine that looks at every frame."""

from linewatch.config.line import LineSettings
from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Tile
from linewatch.geometry.grid import tile_grid
from linewatch.inference.engines import EngineSet

TILE_PX = 256
"""Side of the tiles in predictions of an inspect engine, where the frame is as large: that of the shipped cascade's."""


def inspection_grid(engines: EngineSet, line: LineSettings, overlap_px: int) -> tuple[Tile, ...]:
    """Return the tiles of `Prediction.tiles`: those that the classifier gets, or squares beside an inspect engine.

    Raises ConfigError when they do not fit the frame.
    """
    head = engines.names_classes.manifest
    lines, width = head.input.lines, head.input.width
    if head.task is Task.INSPECT:
        lines = width = min(TILE_PX, lines, width)
    return tile_grid(line.frame_lines, line.width_px, lines, width, overlap_px)


def seen_grid(engines: EngineSet, line: LineSettings, overlap_px: int) -> tuple[Tile, ...]:
    """Return the tiles that the engine gets that looks at every frame: one, the whole frame, where its input is as
    large. An inspect engine's begin at multiples of its cells, so that their maps lie in one raster.

    Raises ConfigError when they do not fit the frame.
    """
    looks = engines.looks.manifest
    cell_px = (looks.cell_px or 1) if looks.task is Task.INSPECT else 1
    return tile_grid(line.frame_lines, line.width_px, looks.input.lines, looks.input.width, overlap_px, cell_px)
