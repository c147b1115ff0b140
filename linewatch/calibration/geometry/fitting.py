"""Fit the map from columns to millimetres across to the edges of a target, with its uncertainty."""

from dataclasses import dataclass

import numpy as np

from linewatch.calibration.geometry.bars import BarEdges
from linewatch.config.line import MOST_DISTORTIONS
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import SourceError

MOST_RESIDUAL_PX = 0.25
MOST_LEFT_OUT = 0.1
_OUTLIER = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class FittedMap:
    """A map fitted to edges. residual_mm: (n,), of all edges. used: bool (n,).

    covariance: of `offset_mm`, `mm_per_px` and `mm_per_px * distortion_px`, in this order. uneven_mm: by how much dark
    bars are wider than light ones, as printed and as the lens shows them.
    """

    columns: AcrossMap
    covariance: np.ndarray
    residual_mm: np.ndarray
    used: np.ndarray
    uneven_mm: float

    def uncertainty_mm(self, column: np.ndarray) -> np.ndarray:
        """Return the standard uncertainty of a position at each column: float64 (n,)."""
        rows = _terms(column, self.columns.width_px, len(self.columns.distortion_px))
        return np.sqrt(np.einsum("ij,jk,ik->i", rows, self.covariance, rows))

    @property
    def residual_rms_mm(self) -> float:
        return float(np.sqrt(np.mean(self.residual_mm[self.used] ** 2)))

    @property
    def distortion_mm(self) -> float:
        """Return by how much the lens moves a column at most, against a straight map between the ends of the view."""
        column = np.linspace(0.0, self.columns.width_px, 1001)
        return float(np.abs(self.columns.bend_px(column)).max() * self.columns.mm_per_px)


def fit_map(edges: BarEdges, pitch_mm: float, index_mm: float, width_px: int, origin: str) -> FittedMap:
    """Return the map with the fewest terms that explains the edges, by the Bayesian information criterion.

    Edges that do not fit are left out. Raises SourceError, with `origin`, where too many do not fit, or the rest lies
    further off than MOST_RESIDUAL_PX.
    """
    true_mm = index_mm + edges.half_pitches * pitch_mm / 2.0
    used = np.ones(len(true_mm), bool)
    for _ in range(5):
        best = min(
            (_fit(edges, true_mm, used, width_px, count) for count in range(MOST_DISTORTIONS + 1)),
            key=lambda fit: _information(fit.residual_mm[used], len(fit.covariance) + 1),
        )
        spread = 1.4826 * np.median(np.abs(best.residual_mm[used])) + 0.005 * best.columns.mm_per_px
        kept = np.abs(best.residual_mm) <= _OUTLIER * spread
        if (kept == used).all():
            break
        used = kept
    rms_px = best.residual_rms_mm / best.columns.mm_per_px
    if (share := 1.0 - used.mean()) > MOST_LEFT_OUT or rms_px > MOST_RESIDUAL_PX:
        raise SourceError(
            f"{origin}: the target does not fit a lens: {share:.0%} of its edges lie apart and the rest is off by "
            f"{rms_px:.2f} px, expected {MOST_LEFT_OUT:.0%} and {MOST_RESIDUAL_PX:g} px at most; lay it flat, square "
            "to the camera line, and wipe it"
        )
    return best


def _fit(edges: BarEdges, true_mm: np.ndarray, used: np.ndarray, width_px: int, count: int) -> FittedMap:
    side = np.where(edges.brightens, 0.5, -0.5)  # a dark bar ends where it brightens
    rows = np.column_stack([_terms(edges.columns, width_px, count), -side])
    answer, *_ = np.linalg.lstsq(rows[used], true_mm[used], rcond=None)
    residual_mm = true_mm - rows @ answer
    freedom = max(1, int(used.sum()) - rows.shape[1])
    covariance = np.linalg.inv(rows[used].T @ rows[used]) * float((residual_mm[used] ** 2).sum()) / freedom
    offset_mm, mm_per_px, *bend_mm, uneven_mm = answer.tolist()
    columns = AcrossMap(offset_mm, mm_per_px, width_px, tuple(one / mm_per_px for one in bend_mm))
    return FittedMap(columns, covariance[:-1, :-1], residual_mm, used, uneven_mm)


def _terms(column: np.ndarray, width_px: int, count: int) -> np.ndarray:
    """Return the terms of `AcrossMap` at each column: offset, scale and `count` of the distortion: (n, 2 + count)."""
    t = 2.0 * column / width_px - 1.0
    return np.column_stack([np.ones_like(t), column, *((1.0 - t * t) * t**power for power in range(count))])


def _information(residual_mm: np.ndarray, terms: int) -> float:
    n = len(residual_mm)
    return n * float(np.log(np.mean(residual_mm**2) + 1e-12)) + terms * float(np.log(n))
