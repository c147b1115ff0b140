"""How much of the strip's width was inspected: the areas of all cameras, each for the part that it answers for.

Where two cameras see the same strip, each counts up to the middle of it, so no area counts twice. A camera's areas are
those that its service told, in the proportion of the strip across that it answers for to the strip that it saw: they
are taken as spread evenly over both width and length of its span.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Quality, StripArea
from linewatch.decision.coverage import JUDGED_SHARE, LEAST_SHARE, CoverageSums
from linewatch.strip.raster import View, width_mm

_LEAST_MM = 1e-6
_WORSE = {Quality.INSPECTED: 0, Quality.DEGRADED: 1, Quality.MISSED: 2}


@dataclass(frozen=True, slots=True)
class ToldSpan:
    """A span of one camera, in the strip's positions. share: of its area that the camera answers for."""

    begin_mm: float
    stop_mm: float
    span: CoverageSpan
    share: float

    @property
    def plain(self) -> bool:
        """Whether all of its area was inspected."""
        area = self.span.area
        if area is None:
            return self.span.quality is Quality.INSPECTED
        return not area.degraded_mm2 and not area.missed_mm2


@dataclass(frozen=True, slots=True)
class CameraShare:
    """What is known of one camera's share of some strip. width_mm: of strip, where nothing was told."""

    view: View
    told: tuple[ToldSpan, ...]
    width_mm: float


@dataclass(frozen=True, slots=True)
class Lines:
    """A stretch of the joined record, in its lines."""

    first_line: int
    stop_line: int
    mm_per_line: float

    @property
    def along_mm(self) -> tuple[float, float]:
        return self.first_line * self.mm_per_line, self.stop_line * self.mm_per_line


@dataclass(slots=True)
class _Sums:
    inspected: float = 0.0
    degraded: float = 0.0
    missed: float = 0.0

    @property
    def passed(self) -> float:
        return self.inspected + self.degraded + self.missed


def told_of(
    view: View, along_mm: tuple[float, float], strip_mm: tuple[float, float], span: CoverageSpan, *, wanders: bool
) -> ToldSpan:
    """Return a camera's span. along_mm: where it lies on the strip. strip_mm: the strip that it saw across.

    wanders: it sees one edge of a strip that goes on below the next camera. What it misses as `narrow` is then left
    out, since the strip may only have wandered: the edges that all cameras see together tell.
    """
    if wanders and span.area is not None:
        narrow_mm2 = sum(mm2 for cause, mm2 in span.uninspected_mm2 if cause is Cause.NARROW)
        if narrow_mm2:
            rest = tuple((cause, mm2) for cause, mm2 in span.uninspected_mm2 if cause is not Cause.NARROW)
            area = replace(span.area, missed_mm2=max(0.0, span.area.missed_mm2 - narrow_mm2))
            span = replace(span, area=area, uninspected_mm2=rest)
    seen_mm = strip_mm[1] - strip_mm[0]
    share = width_mm(view.owned_mm, strip_mm) / seen_mm if seen_mm > 0 else 0.0
    return ToldSpan(*along_mm, span, share)


def spans_across(
    lines: Lines, shares: Sequence[CameraShare], narrow_mm: Mapping[str, float]
) -> tuple[CoverageSpan, ...]:
    """Return the spans of a stretch of the joined record, over the whole width, by the shares of all cameras.

    Lines are inspected where, on each side, at least JUDGED_SHARE of the area was; missed where, on a side, less than
    LEAST_SHARE was scored; degraded otherwise. The cause is the largest one of the worst side.

    narrow_mm: by side, how much narrower the strip looks than it must be.
    """
    begin_mm, stop_mm = lines.along_mm
    cuts = {lines.first_line, lines.stop_line}
    if not all(_is_plain(share, begin_mm, stop_mm) for share in shares):
        ends = [at_mm for share in shares for told in share.told for at_mm in (told.begin_mm, told.stop_mm)]
        near = (round(at_mm / lines.mm_per_line) for at_mm in ends)
        cuts |= {line for line in near if lines.first_line < line < lines.stop_line}
    ordered = sorted(cuts)
    spans: list[CoverageSpan] = []
    for first, stop in pairwise(ordered):
        append(spans, _span(Lines(first, stop, lines.mm_per_line), shares, narrow_mm))
    return tuple(spans)


def append(spans: list[CoverageSpan], span: CoverageSpan) -> None:
    """Append a span; it becomes one with the last one where that ends at its beginning and is of its kind."""
    before = spans[-1] if spans else None
    touches = before is not None and before.first_line + before.lines == span.first_line
    if before is not None and touches and (before.quality, before.cause) == (span.quality, span.cause):
        spans[-1] = _both(before, span)
    else:
        spans.append(span)


def _is_plain(share: CameraShare, begin_mm: float, stop_mm: float) -> bool:
    at_mm = begin_mm
    for told in share.told:
        if told.stop_mm <= begin_mm or told.begin_mm >= stop_mm:
            continue
        if not told.plain or told.begin_mm > at_mm + _LEAST_MM:
            return False
        at_mm = told.stop_mm
    return at_mm >= stop_mm - _LEAST_MM


def _span(lines: Lines, shares: Sequence[CameraShare], narrow_mm: Mapping[str, float]) -> CoverageSpan:
    begin_mm, stop_mm = lines.along_mm
    sides: dict[str, _Sums] = {}
    by_side: dict[str, dict[Cause, float]] = {}
    by_camera: list[tuple[str, Cause, float]] = []
    for share in shares:
        side = sides.setdefault(share.view.side, _Sums())
        causes: dict[Cause, float] = {}
        told_mm = 0.0
        for told in share.told:
            part_mm = width_mm((begin_mm, stop_mm), (told.begin_mm, told.stop_mm))
            if part_mm <= 0:
                continue
            told_mm += part_mm
            _add(side, causes, told, part_mm / (told.stop_mm - told.begin_mm) * told.share, share.width_mm * part_mm)
        if (hole_mm := stop_mm - begin_mm - told_mm) > _LEAST_MM:
            side.missed += share.width_mm * hole_mm
            causes[Cause.SILENT] = causes.get(Cause.SILENT, 0.0) + share.width_mm * hole_mm
        of_side = by_side.setdefault(share.view.side, {})
        for cause, mm2 in sorted(causes.items()):
            if (rounded := round(mm2, 3)) > 0:
                by_camera.append((share.view.key, cause, rounded))
                of_side[cause] = of_side.get(cause, 0.0) + rounded
    for name, gone_mm in narrow_mm.items():
        if (mm2 := round(gone_mm * (stop_mm - begin_mm), 3)) > 0:
            sides[name].missed += mm2
            by_camera.append((name, Cause.NARROW, mm2))
            by_side[name][Cause.NARROW] = by_side[name].get(Cause.NARROW, 0.0) + mm2
    quality, main = _quality(sides, by_side)
    by_cause: dict[Cause, float] = {}
    for _, one, mm2 in by_camera:
        by_cause[one] = by_cause.get(one, 0.0) + mm2
    area = StripArea(
        round(sum(one.inspected for one in sides.values()), 3),
        round(sum(one.degraded for one in sides.values()), 3),
        round(sum(one.missed for one in sides.values()), 3),
    )
    return CoverageSpan(
        first_line=lines.first_line,
        lines=lines.stop_line - lines.first_line,
        along_mm=lines.along_mm,
        quality=quality,
        cause=main,
        area=area,
        uninspected_mm2=tuple((one, round(mm2, 3)) for one, mm2 in sorted(by_cause.items())),
        by_camera=tuple(sorted(by_camera)),
    )


def _add(side: _Sums, causes: dict[Cause, float], told: ToldSpan, part: float, plain_mm2: float) -> None:
    """Add a part of a camera's span. plain_mm2: its area where the record does not tell it."""
    span = told.span
    if span.area is None:
        area = {Quality.INSPECTED: (plain_mm2, 0.0, 0.0), Quality.DEGRADED: (0.0, plain_mm2, 0.0)}.get(
            span.quality, (0.0, 0.0, plain_mm2)
        )
    else:
        area = (span.area.inspected_mm2 * part, span.area.degraded_mm2 * part, span.area.missed_mm2 * part)
    side.inspected, side.degraded = side.inspected + area[0], side.degraded + area[1]
    side.missed += area[2]
    named = span.uninspected_mm2
    if not named and area[1] + area[2] > 0:
        named, part = ((span.cause or Cause.ENGINE, area[1] + area[2]),), 1.0
    for one, mm2 in named:
        causes[one] = causes.get(one, 0.0) + mm2 * part


def _quality(sides: dict[str, _Sums], causes: dict[str, dict[Cause, float]]) -> tuple[Quality, Cause | None]:
    worst: tuple[Quality, Cause | None] = Quality.INSPECTED, None
    for name, sums in sides.items():
        if not sums.passed or sums.inspected >= JUDGED_SHARE * sums.passed:
            continue
        scored = sums.inspected + sums.degraded
        quality = Quality.DEGRADED if scored >= LEAST_SHARE * sums.passed else Quality.MISSED
        if _WORSE[quality] > _WORSE[worst[0]]:
            of_side = causes[name]
            worst = quality, max(sorted(of_side), key=lambda cause: of_side[cause])
    return worst


def _both(one: CoverageSpan, other: CoverageSpan) -> CoverageSpan:
    """Return two neighbouring spans of one quality and cause as one, with all that they tell."""
    assert one.area is not None
    assert other.area is not None
    camera = {(key, cause): mm2 for key, cause, mm2 in one.by_camera}
    for key, cause, mm2 in other.by_camera:
        camera[key, cause] = round(camera.get((key, cause), 0.0) + mm2, 3)
    causes = dict(one.uninspected_mm2)
    for cause, mm2 in other.uninspected_mm2:
        causes[cause] = round(causes.get(cause, 0.0) + mm2, 3)
    area = one.area.plus(other.area)
    return replace(
        one,
        lines=one.lines + other.lines,
        along_mm=(one.along_mm[0], other.along_mm[1]),
        area=StripArea(round(area.inspected_mm2, 3), round(area.degraded_mm2, 3), round(area.missed_mm2, 3)),
        uninspected_mm2=tuple(sorted(causes.items())),
        by_camera=tuple((key, cause, mm2) for (key, cause), mm2 in sorted(camera.items())),
    )


def put_right(
    sums: CoverageSums, before: Iterable[CoverageSpan], after: Iterable[CoverageSpan], mm_per_line: float
) -> CoverageSums:
    """Return the coil's sums with the spans `after` in place of `before`."""
    out, into = (CoverageSums().plus(tuple(spans), mm_per_line) for spans in (before, after))
    lines, mm2 = dict(sums.missed_lines), dict(sums.uninspected_mm2)
    for cause, count in into.missed_lines:
        lines[cause] = lines.get(cause, 0) + count
    for cause, count in out.missed_lines:
        lines[cause] -= count
    for one, area in into.uninspected_mm2:
        mm2[one] = mm2.get(one, 0.0) + area
    for one, area in out.uninspected_mm2:
        mm2[one] = max(0.0, mm2[one] - area)
    return CoverageSums(
        sums.inspected_mm + into.inspected_mm - out.inspected_mm,
        sums.degraded_mm + into.degraded_mm - out.degraded_mm,
        max(0.0, sums.missed_mm + into.missed_mm - out.missed_mm),
        tuple(sorted((cause, count) for cause, count in lines.items() if count)),
        sums.area.plus(into.area).plus(out.area, -1),
        tuple(sorted((cause, area) for cause, area in mm2.items() if round(area, 3))),
    )
