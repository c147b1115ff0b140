"""Where an engine sees a defect in a stored picture: `python -m linewatch.inference.activation`, a process of its own.

The map is the engine's own output over the picture, computed now: of an inspect engine the probability that each cell
belongs to a defect, of a segment engine that of each pixel, of a screen that of each cell. The picture is what the
history keeps, so the steel beyond its border, which the engine saw at the line, is mirrored from within. Standard
output gets a line with the map's largest value, 0 to 1, and behind it a PNG.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from linewatch.contracts.errors import EngineError, LinewatchError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Executor
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, find_engine
from linewatch.inference.maps import DEFECT
from linewatch.pictures.error import PictureError
from linewatch.pictures.reading import read_gray

_OPAQUE: Final = 0.85
UNUSABLE: Final = 3


def activation(engine: Engine, picture: np.ndarray, lines: int, columns: int, left_px: int) -> np.ndarray:
    """Return the engine's map over a picture, float32 0..1 of the picture's shape.

    picture: uint8, of `lines` strip lines and `columns` camera columns from left_px, perhaps scaled. Raises EngineError
    for an engine that cannot be run, or has no map to show.
    """
    manifest = engine.manifest
    if manifest.task is Task.CLASSIFY:
        raise EngineError(
            f"engine {manifest.name}: its task is classify, which gives no map; name an inspect or segment engine"
        )
    (executor,) = open_backend("onnxruntime").open(manifest, engine.model, (1,), 1)
    try:
        pixels = picture
        if picture.shape != (lines, columns):
            pixels = np.asarray(cv2.resize(picture, (columns, lines), interpolation=cv2.INTER_LINEAR), np.uint8)
        seen = np.zeros((lines, columns), np.float32)
        for top, left in _tiles(lines, columns, manifest):
            part = _run(executor, manifest, pixels, top, left, left_px)
            there = seen[top : top + part.shape[0], left : left + part.shape[1]]
            np.maximum(there, part, out=there)
    finally:
        executor.close()
    size = picture.shape[1], picture.shape[0]
    return np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR), np.float32).clip(0, 1)


def overlay(seen: np.ndarray) -> bytes:
    """Return a map as a PNG to lay over its picture: the surer, the brighter and the less transparent."""
    colours = cv2.applyColorMap((seen * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = (np.sqrt(seen) * _OPAQUE * 255).astype(np.uint8)
    _, packed = cv2.imencode(".png", np.dstack([colours, alpha]))
    return packed.tobytes()


def _tiles(lines: int, columns: int, manifest: EngineManifest) -> Iterator[tuple[int, int]]:
    for top in range(0, lines, manifest.input.lines):
        for left in range(0, columns, manifest.input.width):
            yield top, left


def _run(
    executor: Executor, manifest: EngineManifest, pixels: np.ndarray, top: int, left: int, left_px: int
) -> np.ndarray:
    """Return the map over one tile of the picture, at the tile's place across where the whole picture is narrower."""
    lines, width = manifest.input.lines, manifest.input.width
    tile = pixels[top : top + lines, left : left + width]
    above, before = (lines - tile.shape[0]) // 2, (width - tile.shape[1]) // 2
    if manifest.task is Task.INSPECT and left_px + tile.shape[1] <= width:
        before = left_px
    around = (above, lines - tile.shape[0] - above, before, width - tile.shape[1] - before)
    filled = cv2.copyMakeBorder(tile, *around, cv2.BORDER_REFLECT_101)
    answer = executor.run(np.ascontiguousarray(filled)[None, None], 1)[0]
    if manifest.task is Task.SEGMENT:
        found = answer.astype(np.float32) / 255
    else:
        cells = answer[DEFECT] if manifest.task is Task.INSPECT else answer
        found = np.asarray(cv2.resize(cells.astype(np.float32), (width, lines), interpolation=cv2.INTER_LINEAR))
    return found[above : above + tile.shape[0], before : before + tile.shape[1]]


def main() -> int:
    """Write the largest value, and the PNG to lay over a picture, to standard output. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("engines_dir", type=Path)
    parser.add_argument("name")
    parser.add_argument("lines", type=int)
    parser.add_argument("columns", type=int)
    parser.add_argument("left_px", type=int)
    parser.add_argument("trusted", nargs="*", help="public keys of which one must have signed the engine; none: any")
    given = parser.parse_args()
    try:
        picture = read_gray(given.picture)
        engine = find_engine(given.engines_dir, given.name, given.trusted)
        seen = activation(engine, picture, given.lines, given.columns, given.left_px)
    except (LinewatchError, PictureError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    sys.stdout.buffer.write(b"%.4f\n" % seen.max() + overlay(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
