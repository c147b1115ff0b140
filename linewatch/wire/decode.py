"""From bodies of messages and of verdict lines back to the types of `linewatch.contracts`."""

from dataclasses import fields

from linewatch.contracts.alarm import Alarm, AlarmCommand
from linewatch.contracts.coil import CoilData
from linewatch.contracts.defect_fields import flat_of, from_flat
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import CoilGrade, CoverageSpan, Defect, GradeReason, RollMark, RollSuspect
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    CoilDataBody,
    DefectBody,
    GradeBody,
    RollMarkBody,
    SpanBody,
    parse,
)

_ALARM_FIELDS = tuple(field.name for field in fields(Alarm))
_ROLL_MARK_FIELDS = tuple(field.name for field in fields(RollMark))


def coil_data_from(body: CoilDataBody) -> CoilData:
    """Return the coil's data in a message or file."""
    return CoilData(**body.model_dump())


def alarm_from(body: AlarmBody) -> Alarm:
    """Return the alarm in a message."""
    known = {name: getattr(body, name) for name in _ALARM_FIELDS}
    return Alarm(**{**known, "command": AlarmCommand(**body.command.model_dump()) if body.command else None})


def defect_from(body: DefectBody) -> Defect:
    """Return the defect in a message or verdict line."""
    return from_flat(flat_of(body))


def grade_from(body: GradeBody) -> CoilGrade:
    """Return the coil's grade in a message or verdict line."""
    known = body.model_dump()
    by_severity = {int(severity): count for severity, count in body.defects_by_severity.items()}
    reasons = tuple(GradeReason(**reason) for reason in known["reasons"])
    return CoilGrade(**{**known, "defects_by_severity": by_severity, "reasons": reasons})


def span_from(body: SpanBody) -> CoverageSpan:
    """Return the span in a message or verdict line."""
    by_cause = tuple(sorted(body.uninspected_mm2_by_cause.items()))
    return CoverageSpan(body.first_line, body.lines, body.along_mm, body.quality, body.cause, body.area, by_cause)


def roll_mark_from(body: RollMarkBody) -> RollMark:
    """Return the row of roll marks in a message or verdict line."""
    known = {name: getattr(body, name) for name in _ROLL_MARK_FIELDS}
    return RollMark(**{**known, "suspects": tuple(RollSuspect(**suspect.model_dump()) for suspect in body.suspects)})


def alarm_body_of(record: Record) -> AlarmBody:
    """Return the body of a journaled alarm."""
    message = parse(AlarmMessage, record.header)
    return AlarmBody(**{name: getattr(message, name) for name in AlarmBody.model_fields})
