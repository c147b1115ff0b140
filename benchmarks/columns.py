"""What a lens costs a frame: `python -m benchmarks.columns` prints milliseconds of mapping the sides of 64 defects,
with a lens and without, and of straightening the whole frame instead.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap

ROUNDS, DEFECTS = 500, 64
DISTORTION_PX = (0.0, -41.5)
"""2 % of half the view."""


def spent_ms(step: Callable[[], object]) -> float:
    """Return the median of the CPU time that a step takes."""
    spent = []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        step()
        spent.append(time.thread_time() - begin)
    return 1e3 * float(np.median(spent))


def mapped(columns: AcrossMap) -> Callable[[], object]:
    """Return what inspection asks of the map for each frame with defects."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, columns.width_px - 64, DEFECTS)
    right = left + rng.integers(1, 64, DEFECTS)

    def step() -> object:
        scale = columns.mm_per_px_over(left, right)
        return columns.mm(left), columns.mm(right), columns.width_mm(left, right), scale

    return step


def resampled(columns: AcrossMap, lines: int, interpolation: int) -> Callable[[], object]:
    """Return what straightens a frame, by OpenCV's fixed-point maps that are made once."""
    pixels = np.random.default_rng(0).integers(0, 256, (lines, columns.width_px), np.uint8)
    straight = AcrossMap(columns.offset_mm, columns.mm_per_px, columns.width_px)
    at = columns.column(straight.mm(np.arange(columns.width_px) + 0.5)) - 0.5
    x = np.ascontiguousarray(np.broadcast_to(at.astype(np.float32), pixels.shape))
    y = np.ascontiguousarray(np.broadcast_to(np.arange(lines, dtype=np.float32)[:, None], pixels.shape))
    maps, out = cv2.convertMaps(x, y, cv2.CV_16SC2), np.empty_like(pixels)
    return lambda: cv2.remap(pixels, *maps, interpolation, dst=out)


def main() -> None:
    """Print what each way costs."""
    cv2.setNumThreads(1)
    line = LineSettings()
    lens = AcrossMap(0.0, line.mm_per_px, line.width_px, DISTORTION_PX)
    table = Table("a frame of 256 x 1600 pixels", "CPU ms (p50)")
    for name, step in (
        (f"positions of {DEFECTS} defects, straight", mapped(line.across)),
        (f"positions of {DEFECTS} defects, lens", mapped(lens)),
        ("frame straightened, linear", resampled(lens, line.frame_lines, cv2.INTER_LINEAR)),
        ("frame straightened, nearest", resampled(lens, line.frame_lines, cv2.INTER_NEAREST)),
    ):
        table.add_row(name, f"{spent_ms(step):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
