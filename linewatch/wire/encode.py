"""From decisions to messages and lines of a verdict file: bodies, sequences, canonical JSON, run-length payloads."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import Alarm, AlarmNotice
from linewatch.contracts.coil import CoilData
from linewatch.contracts.crop import Crop
from linewatch.contracts.defect_fields import DEFECT_FIELDS, DefectField, to_flat
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import (
    CoilGrade,
    CoilNotice,
    CoilState,
    CoverageSpan,
    Decided,
    DefectEvent,
    RollMark,
    RollSuspect,
    RunMask,
    StripArea,
    Verdict,
)
from linewatch.wire.schema import (
    KEPT_TOPICS,
    MAX_HEADER_BYTES,
    MAX_MASK_RUNS,
    SCHEMA_MINOR,
    SCHEMA_VERSION,
    AlarmBody,
    AlarmsLine,
    CoilBody,
    CoilDataBody,
    CoilLine,
    ColumnsBody,
    CommandMark,
    CropBody,
    DefectBody,
    DefectLine,
    FrameBody,
    GradeBody,
    GradeReasonBody,
    IntervalMm,
    MaskBody,
    Message,
    RollMarkBody,
    RollSuspectBody,
    SpanBody,
    StatusBody,
    TimingBody,
    Topic,
    VerdictLine,
    canonical,
    decode_runs,
    encode_runs,
)
from linewatch.wire.schema.base import MAX_TEXT_LENGTH, holds_nul

_NO_RUNS = np.empty((0, 3), np.int32)
_TIMING_FIELDS = tuple(field.name for field in fields(Timing))
_AREA_FIELDS = tuple(field.name for field in fields(StripArea))
_ALARM_FIELDS = tuple(field.name for field in fields(Alarm))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message without a sequence yet."""

    topic: Topic
    body: FrameBody | DefectBody | AlarmBody | CoilBody | RollMarkBody
    timing: TimingBody
    payload: bytes = b""
    config: str = ""


class UnpublishableError(ValueError):
    """A message that a consumer would refuse, although each of its fields is within its bounds."""


class Sequencer:
    """Numbers the messages of one epoch, per topic from 0 without gaps, and the coils. Used by one thread.

    config: identity of the settings that apply, published with every coil.
    """

    def __init__(self, epoch: int, config: str = "", passage: tuple[int, int] | None = None) -> None:
        """passage: of the coil that goes on over a restart, the epoch in which it began and its number there."""
        self.epoch = epoch
        self._config = config
        self._coil_epoch: int | None = passage[0] if passage else None
        self._coil_ordinal: int | None = passage[1] if passage else None
        self._next = dict.fromkeys(Topic, 0)

    @property
    def passage(self) -> tuple[int, int] | None:
        """The epoch in which the present coil began, and its number there; None before the first coil."""
        if self._coil_ordinal is None:
            return None
        return (self.epoch if self._coil_epoch is None else self._coil_epoch), self._coil_ordinal

    @property
    def sequences(self) -> dict[str, int]:
        """The next sequence of every journaled topic."""
        return {topic.value: self._next[topic] for topic in KEPT_TOPICS}

    def records(self, drafts: Iterable[Draft]) -> list[Record]:
        """Make the messages of one decision as they are journaled and published.

        Raises ValueError for what no message can hold; then none of them has been numbered.
        """
        before = self._next.copy(), self._coil_epoch, self._coil_ordinal
        try:
            return [self.record(draft) for draft in drafts]
        except Exception:
            self._next, self._coil_epoch, self._coil_ordinal = before
            raise

    def record(self, draft: Draft) -> Record:
        """Make one message as it is journaled and published. Raises ValueError."""
        more: dict[str, Any] = {"timing": draft.timing.model_dump()}
        if isinstance(draft.body, CoilBody):
            config = more["config"] = draft.config or self._config
            if not isinstance(config, str) or len(config.encode()) > MAX_TEXT_LENGTH:
                raise UnpublishableError(f"its config is no text of at most {MAX_TEXT_LENGTH} bytes")
            if draft.body.state is CoilState.STARTED:
                self._coil_ordinal = 0 if self._coil_ordinal is None else self._coil_ordinal + 1
                self._coil_epoch = None
        more["coil_ordinal"], more["coil_epoch"] = self._coil_ordinal, self._coil_epoch
        record = self._record(draft.topic, draft.body, more, draft.payload)
        if len(record.header) > MAX_HEADER_BYTES:
            raise UnpublishableError(f"its header has {len(record.header)} bytes, at most {MAX_HEADER_BYTES} are read")
        if holds_nul(record.header):
            raise UnpublishableError("one of its texts holds a NUL character")
        return record

    def status(self, body: StatusBody) -> Record:
        """Make the status message. Call it right before sending, in the thread that sends all other messages."""
        return self._record(Topic.STATUS, body, {"sequences": self.sequences}, b"")

    def crop(self, crop: Crop, published_ns: int) -> Record:
        """Make the message of a picture, which is published and not journaled."""
        defect, window = crop.defect, crop.window
        body = CropBody(
            id=defect.id,
            ordinal=int(crop.ordinal),
            coil=defect.coil,
            side=defect.side,
            camera=defect.camera,
            defect_class=defect.defect_class,
            severity=defect.severity,
            area_mm2=_mm(defect.area_mm2),
            across_mm=_interval(window.box.across_mm),
            along_mm=_interval(window.box.along_mm),
            first_line=int(window.first_line),
            lines=int(window.lines),
            left_px=int(window.left_px),
            columns=int(window.columns),
            scale=float(crop.scale),
            png_bytes=len(crop.png),
        )
        timing = TimingBody(captured_ns=crop.captured_ns, published_ns=published_ns)
        more = {"timing": timing.model_dump(), "coil_ordinal": crop.coil_ordinal, "coil_epoch": crop.coil_epoch}
        return self._record(Topic.CROP, body, more, crop.png)

    def _record(self, topic: Topic, body: Message, more: dict[str, Any], payload: bytes) -> Record:
        sequence = self._next[topic]
        self._next[topic] = sequence + 1
        envelope = {
            "schema_version": SCHEMA_VERSION,
            "schema_minor": SCHEMA_MINOR,
            "topic": topic,
            "epoch": self.epoch,
            "sequence": sequence,
        }
        return Record(self.epoch, topic.value, sequence, canonical(body.model_dump() | envelope | more), payload)


def drafts(decided: Decided) -> list[Draft]:
    """Make the messages of one decision in publishing order: frame or coil, defects, roll marks, alarms."""
    timing = _timing(decided.timing)
    if isinstance(decided, AlarmNotice):
        return [alarm_draft(alarm, None, timing) for alarm in decided.alarms]
    ordinal = decided.ordinal if isinstance(decided, Verdict) else None
    if isinstance(decided, Verdict):
        messages = [Draft(Topic.FRAME, FrameBody(**_frame(decided)), timing)]
    else:
        messages = [Draft(Topic.COIL, coil_body(decided), timing, config=decided.config)]
    messages += [defect_draft(event, ordinal, timing) for event in decided.defects]
    messages += [roll_mark_draft(mark, ordinal, timing) for mark in decided.roll_marks]
    messages += [alarm_draft(alarm, ordinal, timing) for alarm in decided.alarms]
    return messages


def coil_body(notice: CoilNotice) -> CoilBody:
    """Make the body of a coil's start or end."""
    return CoilBody(**_coil(notice))


def defect_draft(event: DefectEvent, ordinal: int | None, timing: TimingBody) -> Draft:
    """Make the message of a step in a defect's life. ordinal: of the frame that caused it, if one did."""
    mask, dropped = _bounded(event.mask)
    body = DefectBody(**_defect(event, ordinal, mask, dropped))
    payload = encode_runs(mask.runs) if mask else b""
    decode_runs(payload)  # raises for a mask that no consumer would take
    return Draft(Topic.DEFECT, body, timing, payload)


def roll_mark_draft(mark: RollMark, ordinal: int | None, timing: TimingBody) -> Draft:
    """Make the message of a step in the life of a row of roll marks."""
    return Draft(Topic.ROLL_MARK, _roll_mark(mark, ordinal), timing)


def alarm_draft(alarm: Alarm, ordinal: int | None, timing: TimingBody) -> Draft:
    """Make the message of an alarm's transition."""
    return Draft(Topic.ALARM, alarm_body(alarm, ordinal), timing)


def verdict_line(decided: Decided) -> VerdictLine | CoilLine | AlarmsLine:
    """Make the line of one decision in a verdict file."""
    if isinstance(decided, AlarmNotice):
        alarms = tuple(alarm_body(alarm, None) for alarm in decided.alarms)
        return AlarmsLine(alarms=alarms, timing=_timing(decided.timing))
    ordinal = decided.ordinal if isinstance(decided, Verdict) else None
    parts: dict[str, Any] = {
        "defects": tuple(_defect_line(event, ordinal) for event in decided.defects),
        "alarms": tuple(alarm_body(alarm, ordinal) for alarm in decided.alarms),
        "roll_marks": tuple(_roll_mark(mark, ordinal) for mark in decided.roll_marks),
        "timing": _timing(decided.timing),
    }
    if isinstance(decided, Verdict):
        return VerdictLine(**_frame(decided), **parts)
    return CoilLine(**_coil(decided), **parts)


def _timing(timing: Timing) -> TimingBody:
    return TimingBody(**{name: getattr(timing, name) for name in _TIMING_FIELDS})


def _frame(verdict: Verdict) -> dict[str, Any]:
    return {
        "ordinal": int(verdict.ordinal),
        "camera_sequence": int(verdict.sequence),
        "coil": verdict.coil,
        "side": verdict.side,
        "camera": verdict.camera,
        "first_line": int(verdict.first_line),
        "lines": int(verdict.lines),
        "valid_lines": int(verdict.valid_lines),
        "along_mm": _interval(verdict.along_mm),
        "encoded": bool(verdict.encoded),
        "strip_mm": _interval(verdict.strip_mm) if verdict.strip_mm else None,
        "spans": tuple(_span(span) for span in verdict.spans),
        "tiles": int(verdict.tiles),
        "tiles_passed": int(verdict.tiles_passed),
        "screen_peak": _score(verdict.screen_peak),
        "defect_ids": tuple(event.defect.id for event in verdict.defects),
        "alarm_ids": tuple(alarm.id for alarm in verdict.alarms),
        "engines": tuple(verdict.engines),
        "position_fault": verdict.position_fault,
        "coil_data": coil_data_body(verdict.coil_data),
        "config": verdict.config,
        "calibration": verdict.calibration,
        "corrections": tuple(_span(span) for span in verdict.corrections),
        "corrected": tuple(_span(span) for span in verdict.corrected),
        "columns": None if verdict.columns is None else _columns(verdict.columns),
    }


@lru_cache(maxsize=64)
def _columns(columns: AcrossMap) -> ColumnsBody:
    return ColumnsBody(
        offset_mm=_mm(columns.offset_mm),
        mm_per_px=float(columns.mm_per_px),
        width_px=int(columns.width_px),
        distortion_px=tuple(map(float, columns.distortion_px)),
    )


def _coil(notice: CoilNotice) -> dict[str, Any]:
    return {
        "state": notice.state,
        "coil": notice.coil,
        "side": notice.side,
        "camera": notice.camera,
        "along_mm": _mm(notice.along_mm),
        "inspected_mm": _mm(notice.inspected_mm),
        "degraded_mm": _mm(notice.degraded_mm),
        "missed_mm": _mm(notice.missed_mm),
        **_area(notice.area),
        "uninspected_mm2_by_cause": {str(cause): _mm(mm2) for cause, mm2 in notice.uninspected_mm2_by_cause.items()},
        "missed_lines_by_cause": {str(cause): int(lines) for cause, lines in notice.missed_lines_by_cause.items()},
        "defects_by_class": {name: int(count) for name, count in notice.defects_by_class.items()},
        "defect_ids": tuple(event.defect.id for event in notice.defects),
        "alarm_ids": tuple(alarm.id for alarm in notice.alarms),
        "grade": _grade(notice.grade) if notice.grade else None,
        "data": coil_data_body(notice.conditions.data),
        "recipe": notice.conditions.recipe,
        "head_excluded_mm": _mm(notice.conditions.head_mm),
        "tail_excluded_mm": _mm(notice.conditions.tail_mm),
        "between_coils": notice.conditions.between,
        "notes": notice.conditions.notes,
        "source_coil": notice.source_coil,
        "source_line": int(notice.head_line),
    }


def coil_data_body(data: CoilData | None) -> CoilDataBody | None:
    """Make the body of a coil's data."""
    return None if data is None else CoilDataBody(**asdict(data))


def _grade(grade: CoilGrade) -> GradeBody:
    return GradeBody(
        grade=grade.grade,
        text=grade.text,
        rules=grade.rules,
        product=grade.product,
        customer=grade.customer,
        graded_mm=_interval(grade.graded_mm),
        inspected_share=float(grade.inspected_share),
        defects_by_severity={str(severity): int(count) for severity, count in grade.defects_by_severity.items()},
        reasons=tuple(GradeReasonBody(**asdict(reason)) for reason in grade.reasons),
    )


def _span(span: CoverageSpan) -> SpanBody:
    return SpanBody(
        first_line=int(span.first_line),
        lines=int(span.lines),
        along_mm=_interval(span.along_mm),
        quality=span.quality,
        cause=span.cause,
        **(_area(span.area) if span.area is not None else {}),
        uninspected_mm2_by_cause={cause: _mm(mm2) for cause, mm2 in span.uninspected_mm2},
        uninspected_mm2_by_camera=_by_camera(span),
    )


def _by_camera(span: CoverageSpan) -> dict[str, dict[Cause, float]]:
    told: dict[str, dict[Cause, float]] = {}
    for camera, cause, mm2 in span.by_camera:
        told.setdefault(camera, {})[cause] = _mm(mm2)
    return told


def _area(area: StripArea) -> dict[str, Any]:
    return {name: _mm(getattr(area, name)) for name in _AREA_FIELDS}


def _defect(event: DefectEvent, ordinal: int | None, mask: RunMask | None, mask_dropped: bool) -> dict[str, Any]:
    values = to_flat(event.defect)
    for name, rounded in _ROUNDING:
        if (value := values[name]) is not None:
            values[name] = rounded(value)
    return values | {
        "state": event.state,
        "ordinal": ordinal,
        "merged_into": event.merged_into,
        "mask": MaskBody(first_line=int(mask.first_line), runs=len(mask.runs)) if mask else None,
        "mask_dropped": mask_dropped,
    }


def _defect_line(event: DefectEvent, ordinal: int | None) -> DefectLine:
    mask, dropped = _bounded(event.mask)
    runs = mask.runs if mask else _NO_RUNS
    return DefectLine(**_defect(event, ordinal, mask, dropped), runs=tuple(runs.ravel().tolist()))


def _bounded(mask: RunMask | None) -> tuple[RunMask | None, bool]:
    """Return the mask, unless it is larger than a message may be, and whether it is left out for that."""
    dropped = mask is not None and len(mask.runs) > MAX_MASK_RUNS
    return (None if dropped else mask), dropped


def _roll_mark(mark: RollMark, ordinal: int | None) -> RollMarkBody:
    return RollMarkBody(
        state=mark.state,
        id=mark.id,
        ordinal=ordinal,
        coil=mark.coil,
        side=mark.side,
        camera=mark.camera,
        defect_class=mark.defect_class,
        pitch_mm=_mm(mark.pitch_mm),
        pitch_error_mm=_mm(mark.pitch_error_mm),
        confidence=_score(mark.confidence),
        marks=int(mark.marks),
        marks_due=int(mark.marks_due),
        across_mm=_interval(mark.across_mm),
        along_mm=_interval(mark.along_mm),
        defect_ids=tuple(mark.defect_ids),
        suspects=tuple(_suspect(suspect) for suspect in mark.suspects),
    )


def _suspect(suspect: RollSuspect) -> RollSuspectBody:
    return RollSuspectBody(
        roll=suspect.roll,
        stand=suspect.stand,
        pitch_mm=_interval(suspect.pitch_mm),
        diameter_mm=_interval(suspect.diameter_mm),
        turns=int(suspect.turns),
        share=_score(suspect.share),
    )


def alarm_body(alarm: Alarm, ordinal: int | None) -> AlarmBody:
    """Make the body of an alarm's transition. ordinal: of the frame that caused it, if one did."""
    known = {name: getattr(alarm, name) for name in _ALARM_FIELDS}
    mark = CommandMark(**asdict(alarm.command)) if alarm.command else None
    return AlarmBody(**{**known, "ordinal": ordinal, "along_mm": _mm(alarm.along_mm), "command": mark})


def _scores(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(number), 4) for name, number in values.items()}


def _angle(value: float) -> float:
    degrees = round(float(value), 1) + 0.0
    return 90.0 if degrees == -90 else degrees


def _mm(value: float) -> float:
    return round(float(value), 3) + 0.0  # never -0.0


def _score(value: float) -> float:
    return round(float(value), 4) + 0.0


def _interval(interval: IntervalMm) -> IntervalMm:
    return _mm(interval[0]), _mm(interval[1])


def _rounding(field: DefectField) -> Callable[[Any], Any]:
    """Return what makes plain JSON types of a field's values: millimetres and angles by the name's unit, or scores."""
    if field.kind is not float:
        kinds: dict[type, Callable[[Any], Any]] = {int: int, tuple: _interval, dict: _scores}
        return kinds[field.kind]
    if field.name.endswith("_deg"):
        return _angle
    return _mm if field.name.endswith(("_mm", "_mm2")) else _score


_ROUNDING = tuple((one.name, _rounding(one)) for one in DEFECT_FIELDS if one.kind in (float, int, tuple, dict))
