"""What is published in place of a decision that no message can hold: a number out of bounds, a text without end.

The strip whose decision cannot be told counts as missed, cause `untold`: it was not told that it is without defects.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

from linewatch.contracts.alarm import Alarm, AlarmNotice
from linewatch.contracts.coil import CoilConditions, coil_name
from linewatch.contracts.frame import Cause, PositionFault
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import CoilNotice, CoilState, CoverageSpan, Decided, Quality, StripArea, Verdict
from linewatch.wire.encode import Draft, Sequencer, alarm_draft, defect_draft, drafts, roll_mark_draft
from linewatch.wire.schema import TimingBody

_INT64 = 1 << 63
_MOST_MM = 1e12
_TEXT_LENGTH = 200
_NOTE = "some totals of this coil could not be published: see the service's log"
P = TypeVar("P")


def substitute(decided: Decided) -> Decided:
    """Return a decision that can be published, and that says no more than was decided.

    Defects, roll marks and alarms that can be told are kept. Of an alarm's own fields those are replaced that cannot be
    told. A frame counts as missed when it, or one of its defects, cannot be told.
    """
    ordinal = _count(decided.ordinal) if isinstance(decided, Verdict) else None
    timing = Timing(**{one.name: _whole(getattr(decided.timing, one.name, 0)) for one in fields(Timing)})
    alarms = tuple(_told(map(_mended, _parts(decided.alarms)), lambda one: alarm_draft(one, ordinal, TimingBody())))
    if isinstance(decided, AlarmNotice):
        return replace(decided, alarms=alarms, timing=timing)
    defects = tuple(_told(_parts(decided.defects), lambda one: defect_draft(one, ordinal, TimingBody())))
    marks = tuple(_told(_parts(decided.roll_marks), lambda one: roll_mark_draft(one, ordinal, TimingBody())))
    lost = defects != decided.defects
    decided = replace(decided, alarms=alarms, defects=defects, roll_marks=marks, timing=timing)
    if isinstance(decided, Verdict):
        if not _tells(lambda: _numbered(drafts(decided))):
            return _missed(decided)
        return replace(decided, spans=_one_span(decided, _area(decided.spans))) if lost else decided
    return decided if _tells(lambda: _numbered(drafts(decided))) else _bare(decided)


def _missed(verdict: Verdict) -> Verdict:
    lines = _count(verdict.lines)
    known = Verdict(
        ordinal=_count(verdict.ordinal),
        sequence=_whole(verdict.sequence),
        coil=coil_name(str(verdict.coil)),
        side=_text(verdict.side),
        camera=_text(verdict.camera),
        first_line=_count(verdict.first_line),
        lines=lines,
        valid_lines=min(_count(verdict.valid_lines), lines),
        along_mm=_interval(verdict.along_mm),
        encoded=bool(verdict.encoded),
        strip_mm=None,
        spans=(),
        tiles=0,
        tiles_passed=0,
        screen_peak=0.0,
        defects=verdict.defects,
        alarms=verdict.alarms,
        engines=(),
        timing=verdict.timing,
        roll_marks=verdict.roll_marks,
        position_fault=verdict.position_fault if isinstance(verdict.position_fault, PositionFault) else None,
        coil_data=verdict.coil_data,
        config=_text(verdict.config),
        calibration=_text(verdict.calibration),
    )
    if not _tells(lambda: _numbered(drafts(known))):
        known = replace(known, coil_data=None)
    return replace(known, spans=_one_span(known, _area(verdict.spans)))


def _one_span(verdict: Verdict, area: StripArea) -> tuple[CoverageSpan, ...]:
    if not verdict.lines:
        return ()
    by_cause = ((Cause.UNTOLD, area.missed_mm2),) if area.missed_mm2 else ()
    return (
        CoverageSpan(verdict.first_line, verdict.lines, verdict.along_mm, Quality.MISSED, Cause.UNTOLD, area, by_cause),
    )


def _area(spans: Any) -> StripArea:
    """Return the area of the spans, none of it told; 0 where it is no number."""
    parts = [plain_area(getattr(span, "area", None)) for span in _parts(spans)]
    return StripArea(missed_mm2=round(sum(part.passed_mm2 for part in parts), 3))


def plain_area(area: Any) -> StripArea:
    """Return the area with 0 for each part that is no number of square millimetres."""
    return StripArea(*(max(0.0, _mm(getattr(area, one.name, 0.0))) for one in fields(StripArea)))


def plain_mm2(by_cause: Any) -> dict[str, float]:
    """Return an area by cause, likewise."""
    return {_text(cause): max(0.0, _mm(mm2)) for cause, mm2 in _items(by_cause)}


def _bare(notice: CoilNotice) -> CoilNotice:
    """Return a coil's notice with what can be told of it. Lengths that cannot be are 0, and a note says so."""
    known = replace(
        notice,
        state=notice.state if isinstance(notice.state, CoilState) else CoilState.ENDED,
        coil=coil_name(str(notice.coil)),
        side=_text(notice.side),
        camera=_text(notice.camera),
        along_mm=_mm(notice.along_mm),
        inspected_mm=_mm(notice.inspected_mm),
        degraded_mm=_mm(notice.degraded_mm),
        missed_mm=_mm(notice.missed_mm),
        missed_lines_by_cause=_counts(notice.missed_lines_by_cause),
        area=plain_area(notice.area),
        uninspected_mm2_by_cause=plain_mm2(notice.uninspected_mm2_by_cause),
        defects_by_class=_counts(notice.defects_by_class),
        source_coil=_text(notice.source_coil),
        head_line=_count(notice.head_line),
        config=_text(notice.config),
    )
    for kept in (known, replace(known, grade=None), replace(known, conditions=CoilConditions())):
        if _tells(lambda: _numbered(drafts(kept))):  # noqa: B023 - called at once
            return replace(kept, conditions=replace(kept.conditions, notes=(*kept.conditions.notes, _NOTE)))
    return replace(known, grade=None, conditions=CoilConditions(notes=(_NOTE,)))


def _mended(alarm: Alarm) -> Alarm:
    """Return the alarm with fields that can be told in place of those that cannot: an operator must see it."""
    if _tells(lambda: _numbered([alarm_draft(alarm, None, TimingBody())])):
        return alarm
    placed = _mm(alarm.along_mm) == alarm.along_mm
    return replace(
        alarm,
        id=_text(alarm.id),
        rule=_text(alarm.rule),
        coil=coil_name(str(alarm.coil)),
        side=_text(alarm.side),
        camera=_text(alarm.camera),
        along_mm=_mm(alarm.along_mm),
        text=_text(alarm.text) + ("" if placed else " (where on the coil could not be told)"),
        defect_ids=tuple(map(_text, _parts(alarm.defect_ids))),
        count=_count(alarm.count),
        shelved_until_unix_ns=None if alarm.shelved_until_unix_ns is None else _whole(alarm.shelved_until_unix_ns),
    )


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _told(parts: Iterable[P], draft: Callable[[P], Draft]) -> Iterable[P]:
    return (part for part in parts if _tells(lambda: _numbered([draft(part)])))  # noqa: B023 - called at once


def _numbered(messages: Iterable[Draft]) -> None:
    Sequencer(0).records(messages)


def _tells(make: Callable[[], Any]) -> bool:
    try:
        make()
    except Exception:  # pydantic's, or that of whatever a value of another kind does in arithmetic
        return False
    return True


def _count(value: Any) -> int:
    return max(_whole(value), 0)


def _whole(value: Any) -> int:
    number = _finite(value)
    return int(number) if -_INT64 <= number < _INT64 else 0


def _mm(value: Any) -> float:
    number = float(_finite(value))
    return number if abs(number) <= _MOST_MM else 0.0


def _finite(value: Any) -> Any:
    try:
        return value if math.isfinite(value) else 0
    except (TypeError, ValueError, OverflowError):
        return 0


def _interval(value: Any) -> tuple[float, float]:
    begin, end = value if isinstance(value, tuple) and len(value) == 2 else (0.0, 0.0)
    return _mm(begin), _mm(end)


def _counts(values: Any) -> dict[str, int]:
    return {_text(name): _count(value) for name, value in _items(values)}


def _items(values: Any) -> Iterable[tuple[Any, Any]]:
    return values.items() if isinstance(values, dict) else ()


def _text(value: Any) -> str:
    """Return a text without characters that cannot be printed, and not longer than a name or a sentence."""
    return "".join(one for one in str(value) if one.isprintable())[:_TEXT_LENGTH]
