"""Composes clean strip of any length from a few real clean frames, by image quilting (Efros and Freeman 2001).

Windows of one frame are placed side by side, each cut along the path where it differs least from its neighbour, and the
result is lit anew. The strip has the texture of the frames, and no more of it than they contain.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_DARK = 20
_OVERLAP_PX = 48
_WINDOW_PX = (240, 640)
_FADE_PX = 160
"""A window has its neighbour's light at the cut, and fades to its own over this width."""


def quilted(frames: Sequence[NDArray[np.uint8]], count: int, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` frames, each composed of one of `frames` in turn and of its shape.

    The composed strip fills its frame, without what lies beside the steel. A frame in which the strip ends is only
    mirrored and lit anew.
    """
    for number in range(count):
        frame = frames[number % len(frames)]
        steel = _steel_of(frame)
        whole = steel.mean(axis=1).min() > _DARK
        yield relit(_quilt(steel, frame.shape[1], rng) if whole else _mirrored(frame, rng), rng)


def relit(gray: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the same strip under a lamp up to 1.3 times brighter or darker and up to 15 % uneven across.

    Up to 3 gray levels (standard deviation) of read noise are added.
    """
    gain, slope, noise = np.exp(rng.uniform(-0.26, 0.26)), rng.uniform(-0.15, 0.15), rng.uniform(0, 3)
    lit = gray * (gain * (1 + slope * np.linspace(-1, 1, gray.shape[1], dtype=np.float32)))
    lit += np.float32(noise) * rng.standard_normal(gray.shape, np.float32) * (gray > 0)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def _mirrored(gray: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return gray[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def _steel_of(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the longest run of steel columns."""
    steel = np.concatenate([[False], np.median(frame, axis=0) > _DARK, [False]])
    bounds = np.flatnonzero(steel[1:] != steel[:-1])
    starts, stops = bounds[::2], bounds[1::2]
    longest = int(np.argmax(stops - starts))
    return frame[:, starts[longest] : stops[longest]]


def _quilt(steel: NDArray[np.uint8], width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    out = np.zeros((len(steel), width), np.float32)
    filled = 0
    while filled < width:
        size = min(int(rng.integers(*_WINDOW_PX)), steel.shape[1])
        left = int(rng.integers(steel.shape[1] - size + 1))
        window = _mirrored(steel[:, left : left + size], rng).astype(np.float32)
        start = max(0, filled - _OVERLAP_PX)
        shared = filled - start
        if shared:
            before = out[:, start:filled]
            ratio = (_along(before) + 1) / (_along(window[:, :shared]) + 1)
            fade = np.clip(1 - np.arange(size, dtype=np.float32) / _FADE_PX, 0, 1)
            window *= 1 + (ratio - 1) * fade
            ours = np.arange(shared) >= _least_cut((before - window[:, :shared]) ** 2)[:, None]
            window[:, :shared] = np.where(ours, window[:, :shared], before)
        stop = min(width, start + size)
        out[:, start:stop] = window[:, : stop - start]
        filled = stop
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _along(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smoothed brightness of each line, (lines, 1)."""
    return cv2.GaussianBlur(strip.mean(axis=1, keepdims=True), (1, 145), sigmaX=1, sigmaY=24)


def _least_cut(cost: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the column at which to cut each line of `cost` (lines, width), so that the sum along the cut is least.

    The columns, (lines,), differ by at most one from line to line.
    """
    sums = cost.astype(np.float64)
    for line in range(1, len(sums)):
        above = np.pad(sums[line - 1], 1, constant_values=np.inf)
        sums[line] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    path = np.empty(len(sums), np.intp)
    path[-1] = sums[-1].argmin()
    for line in range(len(sums) - 2, -1, -1):
        low = max(0, path[line + 1] - 1)
        path[line] = low + sums[line, low : path[line + 1] + 2].argmin()
    return path
