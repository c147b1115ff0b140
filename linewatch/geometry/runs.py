"""Run-length masks: int32 (n, 3) rows (line, start_px, stop_px), sorted, half-open [start, stop), never touching.

Equal masks have equal rows, so masks can be compared and stored by their runs.
"""

from collections.abc import Sequence

import numpy as np

from linewatch.geometry.ranges import ranges


def to_runs(mask: np.ndarray) -> np.ndarray:
    """Return the runs of the nonzero pixels of a mask (lines, width)."""
    lines, width = mask.shape
    stride = width + 1  # a blank column ends each line's last run
    flat = np.zeros(lines * stride + 1, dtype=bool)  # and a blank pixel before the first line begins its first run
    flat[1:].reshape(lines, stride)[:, :width] = mask
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.empty((len(changes) // 2, 3), dtype=np.int32)
    runs[:, 0] = changes[::2] // stride
    runs[:, 1] = changes[::2] % stride
    runs[:, 2] = changes[1::2] % stride
    return runs


def to_mask(runs: np.ndarray, lines: int, width: int) -> np.ndarray:
    """Return the bool mask (lines, width) of runs: the inverse of `to_runs`. The runs must lie within the mask."""
    mask = np.zeros((lines, width), dtype=bool)
    mask.ravel()[places(runs, width)] = True
    return mask


def places(runs: np.ndarray, width: int) -> np.ndarray:
    """Return the flat indices of the runs' pixels in an array (lines, width), in order: int64 (pixels,)."""
    line, start, stop = runs.astype(np.int64).T
    return ranges(line * width + start, stop - start)


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Return the runs of columns [left, right) on lines [top, bottom)."""
    line = np.arange(top, bottom, dtype=np.int32)
    return np.stack([line, np.full_like(line, left), np.full_like(line, right)], axis=1)


def union(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the runs of all pixels that are in at least one part."""
    if len(parts) == 1:
        return parts[0]
    runs = np.concatenate(parts).astype(np.int64)
    stride = int(runs[:, 2].max(initial=0)) + 1  # so that a run never reaches the next line's
    starts, stops = runs[:, 0] * stride + runs[:, 1], runs[:, 0] * stride + runs[:, 2]
    if (starts[1:] > stops[:-1]).all():  # sorted and apart, as the runs of one mask are
        return runs.astype(np.int32)
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    opens = np.ones(len(starts), dtype=bool)
    opens[1:] = starts[1:] > reach[:-1]
    firsts = np.flatnonzero(opens)
    starts, stops = starts[firsts], reach[np.append(firsts[1:], len(reach)) - 1] if len(firsts) else reach
    return np.stack([starts // stride, starts % stride, stops % stride], axis=1).astype(np.int32)


def area_px(runs: np.ndarray) -> int:
    """Return the number of pixels in the runs."""
    return int((runs[:, 2] - runs[:, 1]).sum())


def last_per_column(runs: np.ndarray) -> np.ndarray:
    """Return only the last pixel of each column, the only one that a later line can be close to."""
    return _one_per_column(runs)


def first_per_column(runs: np.ndarray) -> np.ndarray:
    """Return only the first pixel of each column, the only one that an earlier line can be close to."""
    return _one_per_column(runs[::-1])


def _one_per_column(runs: np.ndarray) -> np.ndarray:
    if len(runs) == 0:
        return runs
    left = int(runs[:, 1].min())
    columns = np.full(int(runs[:, 2].max()) - left + 2, -1, dtype=np.int32)  # blank at both ends
    for line, start, stop in runs.tolist():
        columns[start - left + 1 : stop - left + 1] = line  # the last run of a column wins
    changes = np.flatnonzero(columns[1:] != columns[:-1])
    line = columns[changes + 1]
    profile = np.stack([line, changes + left, np.append(changes[1:], 0) + left], axis=1)[line >= 0]
    return profile[np.lexsort((profile[:, 1], profile[:, 0]))].astype(np.int32)


def near(one: np.ndarray, other: np.ndarray, reach_px: int, reach_lines: int) -> np.ndarray:
    """Return which runs have pixels at most `reach_px` columns and `reach_lines` lines apart.

    The result is bool (len(one), len(other)). A reach of 1 and 1 is 8-connectivity.
    """
    line, start, stop = one.T[:, :, None]
    return (
        (np.abs(line - other[:, 0]) <= reach_lines) & (start - other[:, 2] < reach_px) & (other[:, 1] - stop < reach_px)
    )
