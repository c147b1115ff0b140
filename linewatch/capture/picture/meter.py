"""`PictureMeter`: follows the picture frame by frame, and says what cannot be trusted of a frame."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from linewatch.capture.picture.averages import CarriedLevel, MovingAverage, Trend
from linewatch.capture.picture.fixed import FixedColumns
from linewatch.capture.picture.measure import ZONES, PictureSample, measure
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.config.picture import PictureSettings
from linewatch.contracts.frame import Cause, Frame, Ranges, StripEdges
from linewatch.contracts.picture import PictureHealth, PictureQuantity, PictureReading, PictureReference
from linewatch.geometry.ranges import true_ranges

_SOON = 8
"""Times as soon as the other figures the lens is judged: over so small a part of `within_m`."""
_FOCUS = PictureQuantity.SHARPNESS, PictureQuantity.EDGE_SHARPNESS
_AVERAGED = (
    PictureQuantity.GRAY,
    PictureQuantity.SATURATION,
    PictureQuantity.FIXED,
    PictureQuantity.FROZEN,
    PictureQuantity.VIBRATION,
    PictureQuantity.WANDER,
)
_LEAST_SAMPLES = 8
_MOSTLY = 0.9  # of the samples show an edge that can be followed
_KEPT = 16  # samples that a later one is compared with: a camera has few buffers


class PictureMeter:
    """Follows the frames of one camera in strip order. Used by one thread; `health` may be read by any.

    The same frames give the same figures, except for slopes, which go by the time.
    """

    def __init__(
        self,
        settings: PictureSettings,
        capture: CaptureSettings,
        line: LineSettings,
        flat: Callable[[], bool] = lambda: False,
    ) -> None:
        """flat: tells whether the pictures are flat by calibration: all zones across were equally bright then."""
        self._settings, self._capture, self._line = settings, capture, line
        self._columns = line.across
        self._within_mm = within_mm = settings.within_m * 1000
        self._averages = {quantity: MovingAverage(within_mm) for quantity in _AVERAGED}
        self._averages |= {quantity: MovingAverage(within_mm / _SOON) for quantity in _FOCUS}
        self._light, self._contrast = CarriedLevel(within_mm), CarriedLevel(within_mm)
        self._target, self._target_before = MovingAverage(within_mm), MovingAverage(within_mm)
        self._shape = [MovingAverage(within_mm) for _ in range(ZONES)]
        self._shape_before: list[float | None] = [None] * ZONES
        self._flat, self._was_flat = flat, False
        self._references: dict[PictureQuantity, float] = {}
        self._fixed = FixedColumns(line.width_px, settings.fixed_depth, settings.dirt_depth)
        self._sides = _Spread(within_mm), _Spread(within_mm)
        self._trends = {quantity: Trend() for quantity in PictureQuantity}
        self._frames, self._strip_mm, self._sampled_mm, self._measured = 0, 0.0, 0.0, 0
        self._blurred, self._repeats = False, False
        self._shown: deque[int] = deque(maxlen=_KEPT)  # prints of the samples before
        self.health: PictureHealth | None = None

    def follow(self, frame: Frame, edges: StripEdges | None) -> tuple[StripEdges | None, PictureHealth | None]:
        """Return the edges with what of this frame cannot be trusted, and the health if this frame was measured."""
        mm, self._columns = frame.lines * frame.mm_per_line, frame.columns
        self._strip_mm += mm
        self._averages[PictureQuantity.FROZEN].add(float(frame.fault is Cause.FROZEN or self._repeats), mm)
        if edges is None or not edges.width_px or frame.pixels is None:
            return edges, None
        self._frames += 1
        health = None
        if self._frames >= self._settings.every_frames:
            pixels = frame.pixels[: frame.valid_lines]
            if edges.dark_lines and edges.doubt is not Cause.DARK:  # the strip's end, or a weld
                pixels = _lit(pixels, edges)
            sample = None
            if 2 * len(pixels) >= self._line.frame_lines:  # the lines of an area camera are lit unalike
                sample = measure(pixels, edges, self._capture, self._settings.target_px)
            if sample is not None:
                self._frames = 0
                self._count(sample, frame)
                self.health = health = self._told(frame.captured_ns)
        return self._doubted(edges), health

    def _doubted(self, edges: StripEdges) -> StripEdges:
        dirty = self._fixed.columns
        if dirty:
            edges = replace(edges, dirty_columns=_within(dirty, edges))
        if self._repeats:
            return replace(edges, doubt=Cause.FROZEN)
        return replace(edges, doubt=Cause.BLURRED) if self._blurred and edges.doubt is None else edges

    def _count(self, sample: PictureSample, frame: Frame) -> None:
        """Count a sample for the strip that has passed since the one before."""
        mm, self._sampled_mm = self._strip_mm - self._sampled_mm, self._strip_mm
        self._measured += 1
        shown = hash(sample.columns.tobytes())
        # A camera that gives its buffers again, or one line again and again. What has no texture always looks alike.
        self._repeats = sample.sharpness is not None and (shown in self._shown or not sample.changes.any())
        self._shown.append(shown)
        told = {
            PictureQuantity.SATURATION: sample.saturation,
            PictureQuantity.SHARPNESS: sample.sharpness,
            PictureQuantity.EDGE_SHARPNESS: sample.edge_sharpness,
            PictureQuantity.VIBRATION: None if sample.vibration_px is None else sample.vibration_px * frame.mm_per_px,
        }
        for quantity, value in told.items():
            if value is not None:
                self._averages[quantity].add(value, mm)
        if sample.contrast is not None:
            self._contrast.add(sample.contrast, mm, frame.coil)
        spreads = [
            spread
            for side, at_px in zip(self._sides, sample.edges_px, strict=True)
            if (spread := side.add(None if at_px is None else frame.columns.mm(at_px), mm, frame.coil)) is not None
        ]
        if spreads:
            self._averages[PictureQuantity.WANDER].add(min(spreads), mm)
        self._count_light(sample, mm, frame.coil)
        self._fixed.add(sample, frame.coil)
        self._averages[PictureQuantity.FIXED].value = float(self._fixed.count)
        if self._ready:
            for quantity, average in self._averages.items():
                if average.value is not None:
                    self._references.setdefault(quantity, average.value)
        sharpness, edge = (self._averages[quantity] for quantity in _FOCUS)
        self._blurred = (
            sharpness.value is not None
            and sharpness.passed_mm >= self._within_mm / _SOON
            and sharpness.value < self._settings.blurred_below
            and (edge.value is None or edge.value < self._settings.edge_sharpness_below)
        )

    def _count_light(self, sample: PictureSample, mm: float, coil: str) -> None:
        if sample.target is not None:
            self._target.add(sample.target, mm)
            if self._target_before.passed_mm < self._within_mm:
                self._target_before.add(sample.target, mm)
        if (flat := self._flat()) != self._was_flat:  # a camera was calibrated, or exchanged
            self._was_flat = flat
            self._shape = [MovingAverage(self._within_mm) for _ in range(ZONES)]
            self._shape_before = [1.0 if flat else None] * ZONES
        lit = sample.zones[np.isfinite(sample.zones)]
        if not len(lit):
            return
        bright = float(np.sort(lit)[3 * len(lit) // 4])  # one dead segment does not darken it
        self._light.add(bright, mm, coil)
        self._averages[PictureQuantity.GRAY].add(float(lit.mean()), mm)
        for number in np.flatnonzero(np.isfinite(sample.zones)).tolist():
            zone = self._shape[number]
            zone.add(float(sample.zones[number]) / max(bright, 1.0), mm)
            if self._shape_before[number] is None and zone.passed_mm >= self._within_mm:
                self._shape_before[number] = zone.value

    @property
    def _ready(self) -> bool:
        """Whether the first metres have been measured."""
        return self._strip_mm >= self._within_mm and self._measured >= _LEAST_SAMPLES

    def _told(self, now_ns: int) -> PictureHealth:
        settings = self._settings
        light = self._light.value
        if settings.target_px is not None:
            now, before = self._target.value, self._target_before.value
            light = now / max(before, 1.0) if now is not None and before is not None else None
        segment, place = self._darkest_zone()
        dirty = ", ".join(f"{self._across(a):.0f} to {self._across(b):.0f} mm" for a, b in self._fixed.told[:4])
        low = {
            PictureQuantity.LIGHT: (light, settings.light_below, 1.0, ""),
            PictureQuantity.GRAY: (None, settings.gray_below, None, ""),
            PictureQuantity.SEGMENT: (segment, settings.segment_below, 1.0, place),
            PictureQuantity.CONTRAST: (self._contrast.value, settings.contrast_below, 1.0, ""),
            PictureQuantity.SHARPNESS: (None, settings.sharpness_below, None, ""),
            PictureQuantity.EDGE_SHARPNESS: (None, settings.edge_sharpness_below, None, ""),
        }
        high = {
            PictureQuantity.SATURATION: (settings.saturation_above, ""),
            PictureQuantity.FIXED: (0.5, dirty),
            PictureQuantity.FROZEN: (settings.frozen_above, ""),
            PictureQuantity.VIBRATION: (settings.vibration_above_mm, ""),
            PictureQuantity.WANDER: (settings.wander_above_mm, ""),
        }
        readings = [
            self._reading(quantity, value, limit, now_ns, reference=reference, place=place)
            for quantity, (value, limit, reference, place) in low.items()
        ]
        readings += [
            self._reading(quantity, None, limit, now_ns, high=True, place=place)
            for quantity, (limit, place) in high.items()
        ]
        if self._was_flat:
            reference = PictureReference.CALIBRATION
        else:
            reference = PictureReference.FIRST_METRES if self._ready else PictureReference.LEARNING
        return PictureHealth(tuple(readings), reference, self._measured, self._strip_mm)

    def _reading(
        self,
        quantity: PictureQuantity,
        value: float | None,
        limit: float,
        now_ns: int,
        *,
        high: bool = False,
        reference: float | None = None,
        place: str = "",
    ) -> PictureReading:
        if (average := self._averages.get(quantity)) is not None and self._ready:
            value = average.value
        trend = self._trends[quantity]
        if value is not None:
            trend.add(value, now_ns)
        return PictureReading(
            quantity=quantity,
            value=value,
            limit=limit,
            deadband=limit * self._settings.deadband,
            high=high,
            reference=self._references.get(quantity) if reference is None else reference,
            per_hour=trend.per_hour,
            limit_in_h=None if value is None else trend.reaches(value, limit),
            place=place,
        )

    def _darkest_zone(self) -> tuple[float | None, str]:
        """Return the least share of light that is left in a zone, by what it was beside the others; and where."""
        shares = [
            (zone.value / before, number)
            for number, (zone, before) in enumerate(zip(self._shape, self._shape_before, strict=True))
            if zone.value is not None and before and zone.passed_mm >= self._within_mm / _SOON
        ]
        if not shares:
            return None, ""
        share, number = min(shares)
        width_px = self._line.width_px / ZONES
        begin, end = self._across(number * width_px), self._across((number + 1) * width_px)
        return share, f"{begin:.0f} to {end:.0f} mm"

    def _across(self, column: float) -> float:
        return self._columns.mm(column)


class _Spread:
    """The deviation of a place over the last metres of a coil, exponentially weighted."""

    def __init__(self, within_mm: float) -> None:
        self._within_mm, self._coil = within_mm, ""
        self._mean, self._square = MovingAverage(within_mm), MovingAverage(within_mm)
        self._seen = MovingAverage(within_mm)

    def add(self, place: float | None, mm: float, coil: str) -> float | None:
        """Count a place, None: it is not in view; return the deviation so far, None while it comes and goes."""
        self._seen.add(float(place is not None), mm)
        if place is None or (self._seen.value or 0.0) < _MOSTLY:
            return None
        if coil != self._coil:
            self._coil = coil
            self._mean, self._square = MovingAverage(self._within_mm), MovingAverage(self._within_mm)
        self._mean.add(place, mm)
        self._square.add(place * place, mm)
        mean, square = self._mean.value or 0.0, self._square.value or 0.0
        return float(np.sqrt(max(0.0, square - mean * mean)))


def _lit(pixels: NDArray[np.uint8], edges: StripEdges) -> NDArray[np.uint8]:
    """Return the lines that are not dark."""
    lit = np.ones(len(pixels), bool)
    for start, stop in edges.dark_lines:
        lit[start:stop] = False
    return pixels[lit]


def _within(columns: Ranges, edges: StripEdges) -> Ranges:
    """Return the columns that lie on the strip and are neither dark nor blown out."""
    flags: NDArray[np.bool_] = np.zeros(edges.right_px + 1, bool)
    for start, stop in columns:
        flags[start:stop] = True
    flags[: edges.left_px] = flags[edges.right_px :] = False
    for start, stop in (*edges.dark_columns, *edges.bright_columns):
        flags[start:stop] = False
    begins, stops = true_ranges(flags)
    return tuple(zip(begins.tolist(), stops.tolist(), strict=True))
