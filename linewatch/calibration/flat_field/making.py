"""Make a flat field of a dark and a bright reference, and measure how even it makes the camera."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from linewatch.calibration.keeping import now
from linewatch.calibration.taking import Taken, refuse_moving, refuse_saturated
from linewatch.capture.flat_field import FlatFieldCorrection
from linewatch.config.calibration_part import Measured
from linewatch.config.flat_field import FlatField, PackedLevels
from linewatch.contracts.errors import SourceError
from linewatch.geometry.ranges import longest_range

LEAST_PICTURES: Final = 8
MOST_DARK: Final = 32.0
"""Mean gray level of the dark reference from which light must be falling in."""
LEAST_BRIGHT: Final = 40.0
"""Gray levels that the bright reference must be above the dark one: below, noise and rounding spoil the gain."""
LEAST_RESPONSE: Final = 0.5
"""Share of the response of its neighbours below which a pixel is dead."""
HOT_LEVELS: Final = 8.0
MOST_DEAD: Final = 0.01
MOST_DEAD_BESIDE: Final = 3
MOST_GAIN: Final = 8.0
"""A pixel that needs more gain shows noise rather than strip."""
MOST_STRIPES: Final = 0.01
_NEIGHBOURHOOD_PX: Final = 65
_RESAMPLES: Final = 200
_GAIN_UNITS: Final = 255


@dataclass(frozen=True)
class MadeFlatField:
    """A flat field, and what its picture shows.

    dark, bright: mean levels, float64 (lines, width), lines 1 per column. before, after: mean levels of the bright
    pictures that it was not made from, as they are and as corrected. shown, shown_after: one of these pictures.
    """

    part: FlatField
    dark: np.ndarray
    bright: np.ndarray
    before: np.ndarray
    after: np.ndarray
    shown: np.ndarray
    shown_after: np.ndarray


def make_flat_field(
    dark: Taken,
    bright: Taken,
    by: str,
    per: Literal["column", "pixel"] = "column",
    target_level: float | None = None,
) -> MadeFlatField:
    """Make the flat field of a camera from pictures with the lens covered, and of a uniform target that stands still.

    target_level: gray level that the bright reference is brought to; None: that of its brightest columns, so that no
    gain is below 1 but for single columns. Every other bright picture is left out of the making, and judges it.

    Raises SourceError where the references are saturated, too dark, moving, striped, or of different sizes, where light
    falls on the dark one, where too many pixels are dead, or where a gain would be too high.
    """
    _check(dark, bright, per)
    dark_mean, bright_mean = _mean(dark.pictures, per), _mean(bright.pictures[::2], per)
    offset = np.clip(np.rint(dark_mean), 0, 255)
    response = bright_mean - offset
    usual = _local_median(response)
    is_dead = response < LEAST_RESPONSE * usual
    is_hot = dark_mean - _local_median(dark_mean) > HOT_LEVELS
    _check_dead(is_dead, bright.origin)
    target = target_level if target_level is not None else float(np.percentile(usual, 99))
    wanted = np.where(is_dead, 1.0, target / np.maximum(response, 1e-6))
    gain, shift = _gains(wanted, bright.origin)
    unmeasured = Measured(value=0, uncertainty=0)
    part = FlatField(
        made=now(),
        by=by,
        source=f"dark {dark.origin}, bright {bright.origin}"[:500],
        width_px=bright.pictures.shape[2],
        per=per,
        target_level=round(target, 2),
        shift=shift,
        offset=PackedLevels.of(offset.astype(np.uint8)),
        gain=PackedLevels.of(gain),
        dead=_places(is_dead),
        hot=_places(is_hot),
        dark_level=_level(dark.pictures),
        bright_level=_level(bright.pictures),
        uneven_before=unmeasured,
        uneven_after=unmeasured,
    )
    correction = FlatFieldCorrection(part, bright.pictures.shape[1])
    judging = bright.pictures[1::2]
    corrected = np.empty_like(judging)
    for picture, into in zip(judging, corrected, strict=True):
        correction.apply(picture, into)
    alive = ~is_dead
    figures = {"uneven_before": unevenness(judging, per, alive), "uneven_after": unevenness(corrected, per, alive)}
    return MadeFlatField(
        part.model_copy(update=figures),
        dark_mean,
        bright_mean,
        _mean(judging, per),
        _mean(corrected, per),
        judging[0],
        corrected[0],
    )


def unevenness(pictures: np.ndarray, per: Literal["column", "pixel"], alive: np.ndarray) -> Measured:
    """Return the standard deviation of the mean levels over their mean, for the pixels that are not dead.

    pictures: uint8 (n, lines, width). alive: bool (lines, width), lines 1 per column. The uncertainty is the standard
    deviation over bootstrap samples of the pictures (Efron & Tibshirani 1993).
    """
    means = pictures.mean(axis=1, keepdims=True, dtype=np.float64) if per == "column" else pictures
    rows = np.ascontiguousarray(means[:, alive], np.float32)
    whole = rows.mean(axis=0, dtype=np.float64)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), _RESAMPLES) / len(rows)
    sampled = [one.std() / one.mean() for one in (draw.astype(np.float32) @ rows for draw in draws)]
    return Measured(value=round(float(whole.std() / whole.mean()), 6), uncertainty=round(float(np.std(sampled)), 6))


def stripes(pictures: np.ndarray) -> float:
    """Return the standard deviation of the lines' mean levels over the mean level, beyond noise.

    Each picture's own brightness is left out.
    """
    lines = pictures.mean(axis=2, dtype=np.float64)
    noise = float(np.mean([one.var(axis=0, dtype=np.float32).mean() for one in pictures])) / pictures.shape[2]
    excess = float((lines - lines.mean(axis=1, keepdims=True)).var())
    return float(np.sqrt(max(0.0, excess - noise)) / max(1.0, lines.mean()))


def refuse_light(dark: Taken) -> None:
    """Raise SourceError where light falls on the dark reference."""
    refuse_saturated(dark)
    if (level := float(dark.pictures.mean())) > MOST_DARK:
        raise SourceError(
            f"{dark.origin}: the dark reference has a mean level of {level:.1f}, expected {MOST_DARK:.0f} or less; "
            "cover the lens, or take the recording in which it is covered"
        )


def _check(dark: Taken, bright: Taken, per: Literal["column", "pixel"]) -> None:
    """Refuse references that do not belong together, and those that say nothing of the light."""
    if dark.pictures.shape[1:] != bright.pictures.shape[1:]:
        (lines, width), (others, theirs) = dark.pictures.shape[1:], bright.pictures.shape[1:]
        raise SourceError(
            f"the dark reference has {width} px x {lines} lines, the bright one {theirs} x {others}; expected both of "
            "one size: take both with the same settings of the camera"
        )
    if dark.serial != bright.serial:
        raise SourceError(
            f"the dark reference is of camera {dark.serial!r}, the bright one of {bright.serial!r}; expected both of "
            "one camera"
        )
    refuse_light(dark)
    refuse_saturated(bright)
    level, light = float(dark.pictures.mean()), float(bright.pictures.mean())
    if light - level < LEAST_BRIGHT:
        raise SourceError(
            f"{bright.origin}: the bright reference is {light - level:.1f} gray levels above the dark one, expected "
            f"{LEAST_BRIGHT:.0f} or more; raise the light or the exposure"
        )
    refuse_moving(bright)
    if per == "column" and (share := stripes(bright.pictures)) > MOST_STRIPES:
        raise SourceError(
            f"{bright.origin}: the bright reference is striped: its lines differ by {share:.1%} of the mean level, "
            f"expected {MOST_STRIPES:.0%} or less; take a lamp that does not flicker, and a target that stands still; "
            "for an area camera, --per pixel"
        )


def _gains(wanted: np.ndarray, origin: str) -> tuple[np.ndarray, int]:
    """Return gains in units of 2**-shift, uint8, and the shift. Raises SourceError for a gain that is too high."""
    if (most := float(wanted.max())) > MOST_GAIN:
        column = int(np.unravel_index(np.argmax(wanted), wanted.shape)[1])
        raise SourceError(
            f"{origin}: column {column} needs a gain of {min(most, 999):.1f}, expected {MOST_GAIN:.0f} or less; "
            "let the target fill the view, light the ends of the camera's line better, or lower --target-level"
        )
    shift = next(shift for shift in range(8, -1, -1) if most * 2**shift <= _GAIN_UNITS or not shift)
    return np.clip(np.rint(wanted * 2**shift), 1, _GAIN_UNITS).astype(np.uint8), shift


def _check_dead(is_dead: np.ndarray, origin: str) -> None:
    dead, beside = int(is_dead.sum()), longest_range(is_dead)
    if dead > MOST_DEAD * is_dead.size or beside > MOST_DEAD_BESIDE:
        columns = np.flatnonzero(is_dead.any(axis=0))
        raise SourceError(
            f"{origin}: {dead} of {is_dead.size} pixels of a line hardly answer to light, {beside} of them side by "
            f"side, first at column {columns[0]}; expected {MOST_DEAD:.0%} or fewer, and {MOST_DEAD_BESIDE} side by "
            "side: let the target fill the view, and clean the lens"
        )


def _mean(pictures: np.ndarray, per: Literal["column", "pixel"]) -> np.ndarray:
    """Return mean levels, float64: (1, width) per column, (lines, width) per pixel."""
    means = pictures.mean(axis=0, dtype=np.float64)
    return means.mean(axis=0, keepdims=True) if per == "column" else means


def _local_median(levels: np.ndarray) -> np.ndarray:
    """Return the median of each pixel's neighbourhood along the line, which follows a fall-off of the light."""
    reach = min(_NEIGHBOURHOOD_PX, levels.shape[1] // 2 * 2 - 1) // 2
    padded = np.pad(levels, ((0, 0), (reach, reach)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)
    return np.vstack([np.median(row, axis=-1) for row in windows])


def _places(flags: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple((int(line), int(column)) for line, column in np.argwhere(flags))


def _level(pictures: np.ndarray) -> Measured:
    """Return the mean level and its standard error over the pictures."""
    levels = pictures.mean(axis=(1, 2), dtype=np.float64)
    error = levels.std(ddof=1) / np.sqrt(len(levels))
    return Measured(value=round(float(levels.mean()), 3), uncertainty=round(float(error), 4))
