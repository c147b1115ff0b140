"""Strip as a list of defects, without pixels: a stated background, and the marks of rolls on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.verdict import Defect, Extent, StripBox

FRAME_MM = 256.0
CLASSES = (
    "inclusion",
    "scratch",
    "patches",
    "rolled_in_scale",
    "torn_spot",
    "pitted_surface",
    "sliver",
    "crazing",
    "roll_mark",
)
FREQUENCY = np.array([0.28, 0.2, 0.14, 0.12, 0.1, 0.06, 0.05, 0.03, 0.02])
WIDTH_MM = np.array([6, 4, 30, 40, 14, 45, 40, 60, 12], np.float64)  # medians
LENGTH_MM = np.array([40, 90, 70, 60, 16, 70, 60, 80, 14], np.float64)
SIZE_SIGMA = 0.5  # of ln width and ln length within a class


@dataclass(frozen=True, slots=True)
class Background:
    """Random defects: a share crowds at the edges, a share comes in bursts along the strip."""

    per_m2: float = 5.0
    width_mm: float = 1250.0
    edge_share: float = 0.5
    edge_depth_mm: float = 40.0  # mean distance of those from their edge
    burst_share: float = 0.1
    burst_size: float = 5.0  # mean
    burst_length_mm: float = 2000.0
    burst_width_mm: float = 60.0


@dataclass(frozen=True, slots=True)
class Marks:
    """One damaged spot on a roll, as the inspection finds its marks."""

    pitch_mm: float
    x_mm: float
    first_mm: float
    defect_class: int
    width_mm: float
    length_mm: float
    missed: float = 0.1
    jitter_mm: float = 3.0  # sigma of each mark's place along
    slip: float = 0.001  # sigma of each turn's pitch, as a share: it adds up
    across_jitter_mm: float = 1.5
    size_jitter: float = 0.12  # sigma of ln width and ln length
    confused: float = 0.1  # share of marks that get another class
    split: float = 0.05  # share of marks found in two pieces


def _defects(
    x: np.ndarray, y: np.ndarray, width: np.ndarray, length: np.ndarray, code: np.ndarray, tag: str
) -> list[Defect]:
    return [
        Defect(
            *(f"{tag}{i}", "C1", "top", "cam1", CLASSES[c]),
            confidence=0.9,
            peak=0.9,
            probability=0.9,
            box=StripBox((a - w / 2, a + w / 2), (b - h / 2, b + h / 2)),
            area_mm2=0.6 * w * h,
            edge_mm=None,
            extent=Extent.MASK,
            frames=1,
        )
        for i, (a, b, w, h, c) in enumerate(
            zip(x.tolist(), y.tolist(), width.tolist(), length.tolist(), code.tolist(), strict=True)
        )
    ]


def background(rng: np.random.Generator, length_mm: float, of: Background, tag: str = "b") -> list[Defect]:
    """Its defects on [0, length_mm)."""
    expected = of.per_m2 * of.width_mm * length_mm / 1e6
    lone = rng.poisson(expected * (1 - of.burst_share))
    bursts = rng.poisson(expected * of.burst_share / of.burst_size)
    sizes = rng.poisson(of.burst_size, bursts)
    middle = np.repeat(np.arange(bursts), sizes)
    x = np.concatenate([_across(rng, lone, of), _across(rng, bursts, of)[middle]])
    y = np.concatenate([rng.uniform(0, length_mm, lone), rng.uniform(0, length_mm, bursts)[middle]])
    x[lone:] += rng.uniform(-0.5, 0.5, len(middle)) * of.burst_width_mm
    y[lone:] += rng.uniform(-0.5, 0.5, len(middle)) * of.burst_length_mm
    code = np.concatenate([_classes(rng, lone), _classes(rng, bursts)[middle]])  # a burst is of one class
    keep = (y >= 0) & (y < length_mm) & (x > 0) & (x < of.width_mm)
    x, y, code = x[keep], y[keep], code[keep]
    width, length = sizes_of(rng, code)
    return _defects(x, y, width, length, code, tag)


def sizes_of(rng: np.random.Generator, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widths and lengths in mm of defects of these classes."""
    return (
        WIDTH_MM[code] * np.exp(rng.normal(0, SIZE_SIGMA, len(code))),
        LENGTH_MM[code] * np.exp(rng.normal(0, SIZE_SIGMA, len(code))),
    )


def _classes(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(len(CLASSES), count, p=FREQUENCY)


def _across(rng: np.random.Generator, count: int, of: Background) -> np.ndarray:
    x = rng.uniform(0, of.width_mm, count)
    at_edge = rng.random(count) < of.edge_share
    depth = np.minimum(rng.exponential(of.edge_depth_mm, count), of.width_mm / 2)
    return np.where(at_edge, np.where(x < of.width_mm / 2, depth, of.width_mm - depth), x)


def marks(rng: np.random.Generator, end_mm: float, of: Marks, tag: str = "m") -> tuple[list[Defect], np.ndarray]:
    """What is found of the marks up to `end_mm`, and where each mark lies, found or not: float64 (due,), mm."""
    due = max(1, int((end_mm - of.first_mm) / of.pitch_mm * 1.1) + 2)
    turns = of.pitch_mm * (1 + rng.normal(0, of.slip, due))
    place = of.first_mm + np.cumsum(turns) - turns[0]
    place = place[place < end_mm]
    due = len(place)
    seen = rng.random(due) >= of.missed
    y = (place + rng.normal(0, of.jitter_mm, due))[seen]
    count = len(y)
    x = of.x_mm + rng.normal(0, of.across_jitter_mm, count)
    code = np.where(rng.random(count) < of.confused, _classes(rng, count), of.defect_class)
    width = of.width_mm * np.exp(rng.normal(0, of.size_jitter, count))
    length = of.length_mm * np.exp(rng.normal(0, of.size_jitter, count))
    halves = rng.random(count) < of.split
    gap = 4.0
    first = np.where(halves, (length - gap).clip(2) * rng.uniform(0.3, 0.7, count), length)
    second = (length - gap - first).clip(1)
    whole = _defects(x, np.where(halves, y - length / 2 + first / 2, y), width, first, code, tag)
    rest = _defects(
        x[halves], (y + length / 2 - second / 2)[halves], width[halves], second[halves], code[halves], tag + "+"
    )
    return whole + rest, place


def random_marks(rng: np.random.Generator, strip_width_mm: float, first_mm: float, **changes: float) -> Marks:
    """A spot anywhere across, of a pitch between 0.6 and 10 m (log-uniform), looking like any random defect."""
    code = _classes(rng, 1)
    width, length = sizes_of(rng, code)
    pitch_mm = float(np.exp(rng.uniform(np.log(600), np.log(10_000))))
    return Marks(
        **{
            "pitch_mm": pitch_mm,
            "x_mm": float(rng.uniform(0, strip_width_mm)),
            "first_mm": first_mm + float(rng.uniform(0, pitch_mm)),
            "defect_class": int(code[0]),
            "width_mm": float(width[0]),
            "length_mm": min(float(length[0]), 300.0),
            **changes,
        }
    )


def frames(defects: list[Defect], end_mm: float) -> Iterator[tuple[float, list[Defect]]]:
    """(end of frame in mm, the defects that close in it), frame by frame, empty ones left out."""
    by_frame: dict[int, list[Defect]] = {}
    for defect in defects:
        by_frame.setdefault(int(defect.box.along_mm[1] // FRAME_MM), []).append(defect)
    for frame in sorted(by_frame):
        yield min((frame + 1) * FRAME_MM, end_mm), by_frame[frame]
