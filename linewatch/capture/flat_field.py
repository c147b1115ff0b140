"""Apply a camera's flat field to its lines, on their way into the frame ring."""

from collections import defaultdict

import cv2
import numpy as np

from linewatch.config.flat_field import FlatField
from linewatch.contracts.errors import ConfigError

_TOP_LEVEL = 255


class FlatFieldCorrection:
    """Corrects lines by a flat field: (pixel - offset) * gain / 2**shift, rounded half to even, limited to 0..255.

    OpenCV multiplies in float32, in which all of these products and quotients are exact; so every processor gives the
    same bytes. A saturated pixel stays saturated: how bright it was is not known. Use it from one thread.
    """

    def __init__(self, part: FlatField, frame_lines: int) -> None:
        """Raise ConfigError for a flat field per pixel of another number of lines than `frame_lines`."""
        if part.gain.lines not in {1, frame_lines}:
            raise ConfigError(
                f"the flat field per pixel has {part.gain.lines} lines, [line] frame_lines is {frame_lines}; set it as "
                "it was, or calibrate the camera again"
            )
        repeats = frame_lines if part.gain.lines == 1 else 1
        self._offset = np.repeat(part.offset.levels, repeats, axis=0)
        self._gain = np.repeat(part.gain.levels, repeats, axis=0)
        self._scale = 2.0**-part.shift
        self._saturated = np.empty_like(self._gain)
        self._dead = _neighbours(part)

    def apply(self, lines: np.ndarray, out: np.ndarray, first_line: int = 0) -> None:
        """Write the corrected lines to `out`; both are uint8 (lines, width), `out` C-contiguous and apart from `lines`.

        first_line: their place in the camera's picture, from 0.
        """
        part = slice(first_line, first_line + len(lines))
        saturated = self._saturated[: len(lines)]
        cv2.subtract(lines, self._offset[part], dst=out)
        cv2.multiply(out, self._gain[part], dst=out, scale=self._scale)
        cv2.threshold(lines, _TOP_LEVEL - 1, _TOP_LEVEL, cv2.THRESH_BINARY, dst=saturated)
        cv2.bitwise_or(out, saturated, dst=out)
        for line, column, left, right in self._dead:
            rows = slice(None) if line is None else slice(line - first_line, line - first_line + 1)
            if line is None or 0 <= line - first_line < len(lines):
                out[rows, column] = (out[rows, left].astype(np.uint16) + out[rows, right] + 1) >> 1


def _neighbours(part: FlatField) -> list[tuple[int | None, int, int, int]]:
    """Return each dead pixel as its line (None: every line), its column, and the nearest good columns beside it."""
    dead: dict[int, set[int]] = defaultdict(set)
    for line, column in part.dead:
        dead[line].add(column)
    found: list[tuple[int | None, int, int, int]] = []
    for line, columns in dead.items():
        for column in sorted(columns):
            left = next((at for at in range(column - 1, -1, -1) if at not in columns), None)
            right = next((at for at in range(column + 1, part.width_px) if at not in columns), None)
            beside = left if right is None else right
            if beside is not None:
                found.append((None if part.per == "column" else line, column, beside if left is None else left, beside))
    return found
