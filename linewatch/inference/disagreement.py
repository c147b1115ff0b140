"""The tiles on which an engine on trial and the running one disagree, and what each of them says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from linewatch.contracts.frame import Frame
from linewatch.contracts.tile import Tile
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.strip import StripScale

KEPT: Final = 12
"""The newest disagreements, at most one of a frame: some megabytes at most, as long as the trial lasts."""
_SCORES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class EngineCall:
    """What one engine says of a tile. mask: bool (lines, width), where it sees a defect; None: it draws no outlines."""

    called: bool
    scores: Mapping[str, float]
    mask: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """One tile on which both disagree. pixels: uint8 (lines, width). number: counts those of a trial from 0."""

    number: int
    ordinal: int  # of its frame
    captured_ns: int
    coil: str
    side: str
    camera: str
    box: StripBox
    pixels: np.ndarray
    running: EngineCall
    shadow: EngineCall


@dataclass(frozen=True, slots=True, eq=False)
class TilesSeen:
    """What both engines were shown: some tiles of a frame. pixels: the whole frame's, which nobody changes any more."""

    frame: Frame
    pixels: np.ndarray
    tiles: Sequence[Tile]

    def disagreement(self, number: int, row: int, running: EngineCall, shadow: EngineCall) -> Disagreement:
        """Return the disagreement on the tile of this row."""
        frame, tile = self.frame, self.tiles[row]
        stop_line, right_px = tile.y + tile.lines, tile.x + tile.width
        return Disagreement(
            number=number,
            ordinal=frame.ordinal,
            captured_ns=frame.captured_ns,
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            box=StripScale.of(frame).box(tile.x, right_px, tile.y, stop_line),
            pixels=self.pixels[tile.y : stop_line, tile.x : right_px].copy(),
            running=running,
            shadow=shadow,
        )


def highest(names: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    """Return the highest scores by name, without zeros."""
    order = np.argsort(-scores, kind="stable")[:_SCORES_SHOWN]
    return {names[i]: round(float(scores[i]), 4) for i in order if scores[i] > 0}
