"""Make the scale of an encoder from two marks on the strip, a known length apart."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from linewatch.calibration.encoder.marks import SEEN_IN, ZONES, LengthMark, find_marks
from linewatch.calibration.keeping import now
from linewatch.calibration.taking import Taken
from linewatch.capture.edges import find_edges
from linewatch.config.calibration_part import Measured
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import PITCH_TOLERANCE, EncoderSettings
from linewatch.config.line_parts import EncoderScale
from linewatch.contracts.errors import SourceError

LEAST_PICTURES: Final = 2
_RESAMPLES: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class MadeEncoderScale:
    """An encoder's scale and what its picture shows.

    levels: mean levels, float64 (lines, ZONES). score: (lines,). between: counts between the marks in each zone that
    shows both.
    """

    part: EncoderScale
    marks: tuple[LengthMark, LengthMark]
    levels: np.ndarray
    score: np.ndarray
    counts: np.ndarray
    between: np.ndarray


def make_encoder_scale(
    taken: Taken, encoder: EncoderSettings, capture: CaptureSettings, by: str, length: Measured
) -> MadeEncoderScale:
    """Make the scale from pictures of strip that runs, with an encoder count each.

    length: between the middles of both marks along the strip, in mm. Raises SourceError where there are no counts, the
    strip does not run forward steadily, not exactly two marks are found, or they lie elsewhere than the counts say.
    """
    counts = _counts(taken, encoder)
    levels = _levels(taken, capture)
    found, score = find_marks(levels)
    if len(found) != 2:
        seen = ", ".join(f"{np.nanmean(mark.lines):.0f}" for mark in found[:8]) or "none"
        raise SourceError(
            f"{taken.origin}: found {len(found)} marks across the strip (at lines: {seen}), expected 2; draw two over "
            f"{SEEN_IN:.0%} of the width or more, dark or bright, and record both, with nothing else like them"
        )
    first, second = found
    between = np.interp(second.lines, np.arange(len(counts)), counts) - np.interp(
        first.lines, np.arange(len(counts)), counts
    )
    between = between[np.isfinite(between)]
    rng = np.random.default_rng(0)
    sampled = rng.choice(between, (_RESAMPLES, len(between))).mean(axis=1)
    # Each mark's count is known to the whole count only.
    error = float(np.hypot(sampled.std(), np.sqrt(2.0 / 12.0)))
    told = float(between.mean())
    expected_mm = told / encoder.counts_per_mm * encoder.strip_mm_per_roll_mm
    if abs(expected_mm / length.value - 1.0) > PITCH_TOLERANCE:
        raise SourceError(
            f"{taken.origin}: the marks lie {expected_mm:.1f} mm apart by [line.encoder], expected {length.value:g} mm "
            f"to {PITCH_TOLERANCE:.0%}; measure between the marks again, or correct counts_per_mm, which is far off"
        )
    scale = told / length.value
    part = EncoderScale(
        made=now(),
        by=by,
        source=taken.origin[:500],
        width_px=taken.pictures.shape[2],
        counts_per_mm=Measured(
            value=round(scale, 8),
            uncertainty=round(scale * float(np.hypot(error / told, length.uncertainty / length.value)), 8),
        ),
        length_mm=length,
        counts=Measured(value=round(told, 3), uncertainty=round(error, 4)),
    )
    return MadeEncoderScale(part, (first, second), levels, score, counts, between)


def _counts(taken: Taken, encoder: EncoderSettings) -> np.ndarray:
    """Return what the encoder showed at the beginning of each line: float64 (lines,)."""
    grabs, lines = taken.grabs, taken.pictures.shape[1]
    doubtful = sum(not grab.encoded or grab.position_fault is not None for grab in grabs)
    if doubtful:
        raise SourceError(
            f"{taken.origin}: {doubtful} of {len(grabs)} pictures have no encoder count, or one that is not trusted; "
            "expected one with each; switch the counter on, and record with [line.encoder] in the configuration"
        )
    begins = np.array([grab.encoder_count for grab in grabs], np.float64)
    steps = np.diff(begins)
    if len(steps) == 0 or steps.min() <= 0:
        raise SourceError(
            f"{taken.origin}: the encoder's count does not rise from picture to picture, expected strip that runs "
            "forward; let it run, and check counts_up"
        )
    per_line = np.append(steps, steps[-1]) / lines
    adjoining = np.abs(per_line / np.median(per_line) - 1.0) < 0.5  # else pictures are missing between the two
    per_line = np.where(
        adjoining, per_line, np.median(per_line[adjoining]) if adjoining.any() else encoder.counts_per_line
    )
    return (begins[:, None] + np.arange(lines) * per_line[:, None]).ravel()


def _levels(taken: Taken, capture: CaptureSettings) -> np.ndarray:
    """Return the mean level of each line in each zone of the strip: float64 (lines, ZONES)."""
    pictures = taken.pictures
    edges = find_edges(np.ascontiguousarray(pictures.mean(axis=0).astype(np.uint8)), capture)
    left, right = (edges.left_px, edges.right_px) if edges.width_px >= 2 * ZONES else (0, pictures.shape[2])
    bounds = np.linspace(left, right, ZONES + 1).astype(int)
    zones = [pictures[:, :, begin:stop].mean(axis=2, dtype=np.float64) for begin, stop in pairwise(bounds.tolist())]
    return np.stack(zones, axis=-1).reshape(-1, ZONES)
