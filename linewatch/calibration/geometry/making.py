"""Make a camera's geometry of pictures of a target, and say how well it is known."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from linewatch.calibration.geometry.bars import BarEdges, find_bars
from linewatch.calibration.geometry.fitting import FittedMap, fit_map
from linewatch.calibration.keeping import now
from linewatch.calibration.taking import Taken, refuse_moving, refuse_saturated
from linewatch.config.calibration_part import Measured
from linewatch.config.line import LineSettings
from linewatch.config.line_parts import CameraGeometry
from linewatch.contracts.errors import SourceError

LEAST_PICTURES: Final = 4
MOST_TURN_PX: Final = 0.2
"""By how much the bars may lie aside in the last lines of a picture against the first."""


@dataclass(frozen=True, slots=True, eq=False)
class MadeGeometry:
    """A geometry and what its picture shows. picture: uint8 (lines, width). profile: mean levels, (width,)."""

    part: CameraGeometry
    edges: BarEdges
    fit: FittedMap
    picture: np.ndarray
    profile: np.ndarray


def make_geometry(taken: Taken, line: LineSettings, by: str, pitch_mm: float, index_mm: float) -> MadeGeometry:
    """Make the geometry of a camera from pictures of a target that stands still.

    pitch_mm: of the target, a dark and a light bar. index_mm: where the middle of its index lies across the mill.
    Raises SourceError where the pictures are saturated, the target moves or is turned, cannot be found, is aliased, or
    does not fit a lens.
    """
    refuse_saturated(taken)
    refuse_moving(taken)
    bar_px, width = pitch_mm / 2.0 / line.mm_per_px, taken.pictures.shape[2]
    profile = taken.pictures.mean(axis=(0, 1), dtype=np.float64)
    edges = find_bars(profile, bar_px, taken.origin)
    _refuse_turned(taken, bar_px)
    fit = fit_map(edges, pitch_mm, index_mm, width, taken.origin)
    deviations = np.sqrt(np.diag(fit.covariance))
    part = CameraGeometry(
        made=now(),
        by=by,
        source=taken.origin[:500],
        width_px=width,
        across_offset_mm=_measured(fit.columns.offset_mm, deviations[0]),
        mm_per_px=_measured(fit.columns.mm_per_px, deviations[1], 9),
        distortion_px=tuple(round(one, 6) for one in fit.columns.distortion_px),
        distortion_mm=round(fit.distortion_mm, 4),
        position_uncertainty_mm=round(float(fit.uncertainty_mm(np.linspace(0.0, width, 401)).max()), 5),
        residual_mm=round(fit.residual_rms_mm, 5),
        pitch_mm=pitch_mm,
        edges=int(fit.used.sum()),
    )
    return MadeGeometry(part, edges, fit, taken.pictures[0], profile)


def _refuse_turned(taken: Taken, bar_px: float) -> None:
    """Refuse a target whose bars do not run along the strip, or that moved aside while a picture was taken."""
    quarter = max(1, taken.pictures.shape[1] // 4)
    ends = (taken.pictures[:, :quarter], taken.pictures[:, -quarter:])
    first, last = (find_bars(part.mean(axis=(0, 1), dtype=np.float64), bar_px, taken.origin) for part in ends)
    begins = dict(zip(first.half_pitches.tolist(), first.columns.tolist(), strict=True))
    both = zip(last.half_pitches.tolist(), last.columns.tolist(), strict=True)
    moved = [column - begins[place] for place, column in both if place in begins]
    if abs(turn_px := float(np.median(moved))) > MOST_TURN_PX:
        raise SourceError(
            f"{taken.origin}: the bars lie {turn_px:+.2f} px aside at the end of a picture, expected {MOST_TURN_PX:g} "
            "px or less; turn the target until its bars run along the strip, and let it stand still"
        )


def _measured(value: float, uncertainty: float, digits: int = 6) -> Measured:
    return Measured(value=round(value, digits), uncertainty=round(float(uncertainty), digits))
