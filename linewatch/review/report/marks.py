"""The marks that stand for defects in drawings: colour and shape by class, size by severity, as SVG paths."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from linewatch.review.severities import RatedDefects

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9", "#cc3311", "#117733", "#332288"),
    *("#e69f00", "#882255", "#44aa99", "#7f5539", "#999933"),
)
"""Colours of the classes, most frequent first; most people with a colour deficiency can tell them apart."""

SHAPES = 5
"""Square, disc, diamond, triangle, inverted triangle: classes differ in a black-and-white print as well."""


def radius_px(severity: int) -> float:
    """Return the radius of a mark by the defect's severity, 0..5."""
    return 1.6 + 0.7 * severity


@dataclass(frozen=True, slots=True, eq=False)
class MarkedDefects:
    """n defects, the worst first. along_mm, across_mm: float64 (n, 2). class_code: int32 (n,), indices into `classes`.

    classes: the most frequent first.
    """

    classes: tuple[str, ...]
    class_code: np.ndarray
    severity: np.ndarray
    along_mm: np.ndarray
    across_mm: np.ndarray

    @classmethod
    def of(cls, rated: RatedDefects) -> Self:
        names, codes, counts = np.unique(
            rated.defects["defect_class"].astype(str), return_inverse=True, return_counts=True
        )
        order = np.lexsort((names, -counts))
        place = np.empty(len(names), np.int32)
        place[order] = np.arange(len(names))
        defects = rated.defects
        return cls(
            tuple(names[order].tolist()), place[codes], rated.severity, defects["along_mm"], defects["across_mm"]
        )

    def __len__(self) -> int:
        return len(self.class_code)

    def first(self, count: int) -> Self:
        """Return the worst `count` of them."""
        columns = (self.class_code, self.severity, self.along_mm, self.across_mm)
        return type(self)(self.classes, *(column[:count] for column in columns))


def colour(code: int) -> str:
    """Return the colour of a class."""
    return COLOURS[code % len(COLOURS)]


def shape(code: int, x: float, y: float, radius: float) -> str:
    """Return the path of a class's mark around (x, y)."""
    r, d = f"{radius:.1f}", f"{2 * radius:.1f}"
    left, top, right, bottom = (f"{value:.1f}" for value in (x - radius, y - radius, x + radius, y + radius))
    mid_x, mid_y = f"{x:.1f}", f"{y:.1f}"
    return (
        f"M{left} {top}h{d}v{d}h-{d}z",
        f"M{left} {mid_y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z",
        f"M{mid_x} {top}L{right} {mid_y}L{mid_x} {bottom}L{left} {mid_y}z",
        f"M{mid_x} {top}L{right} {bottom}H{left}z",
        f"M{mid_x} {bottom}L{right} {top}H{left}z",
    )[code % SHAPES]


def rectangle(left: float, top: float, right: float, bottom: float) -> str:
    """Return the path of a rectangle."""
    return f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}z"
