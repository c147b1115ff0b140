"""From bodies of messages and of verdict lines back to the types of `linewatch.contracts`."""

from dataclasses import fields
from functools import lru_cache

import numpy as np

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import Alarm, AlarmCommand
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.defect_fields import flat_of, from_flat
from linewatch.contracts.prediction import Timing
from linewatch.contracts.record import Record
from linewatch.contracts.verdict import (
    CoilGrade,
    CoilNotice,
    CoverageSpan,
    Defect,
    DefectEvent,
    GradeReason,
    RollMark,
    RollSuspect,
    RunMask,
    StripArea,
    Verdict,
)
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    CoilBody,
    CoilDataBody,
    CoilLine,
    ColumnsBody,
    DefectBody,
    FrameBody,
    GradeBody,
    RollMarkBody,
    SpanBody,
    TimingBody,
    VerdictLine,
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
    by_camera = tuple(
        (camera, cause, mm2)
        for camera, causes in sorted(body.uninspected_mm2_by_camera.items())
        for cause, mm2 in sorted(causes.items())
    )
    return CoverageSpan(
        body.first_line, body.lines, body.along_mm, body.quality, body.cause, body.area, by_cause, by_camera
    )


@lru_cache(maxsize=64)
def columns_from(body: ColumnsBody) -> AcrossMap:
    """Return where columns lie; the same object for the same body, since it keeps a table."""
    return AcrossMap(**body.model_dump())


def roll_mark_from(body: RollMarkBody) -> RollMark:
    """Return the row of roll marks in a message or verdict line."""
    known = {name: getattr(body, name) for name in _ROLL_MARK_FIELDS}
    return RollMark(**{**known, "suspects": tuple(RollSuspect(**suspect.model_dump()) for suspect in body.suspects)})


def event_from(body: DefectBody, runs: np.ndarray) -> DefectEvent:
    """Return the step in a defect's life in a message or verdict line. runs: of its mask, int32 (n, 3)."""
    mask = None if body.mask is None else RunMask(body.mask.first_line, runs)
    return DefectEvent(body.state, defect_from(body), mask, body.merged_into)


def verdict_from(body: FrameBody, defects: tuple[DefectEvent, ...], timing: TimingBody) -> Verdict:
    """Return the verdict in a message or verdict line, without roll marks and alarms. defects: its defect messages."""
    return Verdict(
        ordinal=body.ordinal,
        sequence=body.camera_sequence,
        coil=body.coil,
        side=body.side,
        camera=body.camera,
        first_line=body.first_line,
        lines=body.lines,
        valid_lines=body.valid_lines,
        along_mm=body.along_mm,
        encoded=body.encoded,
        strip_mm=body.strip_mm,
        spans=tuple(map(span_from, body.spans)),
        tiles=body.tiles,
        tiles_passed=body.tiles_passed,
        screen_peak=body.screen_peak,
        defects=defects,
        alarms=(),
        engines=body.engines,
        timing=timing_from(timing),
        position_fault=body.position_fault,
        coil_data=None if body.coil_data is None else coil_data_from(body.coil_data),
        config=body.config,
        calibration=body.calibration,
        corrections=tuple(map(span_from, body.corrections)),
        columns=None if body.columns is None else columns_from(body.columns),
    )


def notice_from(body: CoilBody, defects: tuple[DefectEvent, ...], timing: TimingBody, config: str = "") -> CoilNotice:
    """Return the coil's notice in a message or verdict line, without roll marks and alarms."""
    return CoilNotice(
        state=body.state,
        coil=body.coil,
        side=body.side,
        camera=body.camera,
        along_mm=body.along_mm,
        inspected_mm=body.inspected_mm,
        degraded_mm=body.degraded_mm,
        missed_mm=body.missed_mm,
        missed_lines_by_cause=body.missed_lines_by_cause,
        defects_by_class=body.defects_by_class,
        defects=defects,
        alarms=(),
        timing=timing_from(timing),
        area=body.area or StripArea(),
        uninspected_mm2_by_cause=body.uninspected_mm2_by_cause,
        grade=None if body.grade is None else grade_from(body.grade),
        conditions=CoilConditions(
            data=None if body.data is None else coil_data_from(body.data),
            recipe=body.recipe,
            head_mm=body.head_excluded_mm,
            tail_mm=body.tail_excluded_mm,
            between=body.between_coils,
            notes=body.notes,
        ),
        source_coil=body.source_coil,
        head_line=body.source_line,
        config=config,
    )


def timing_from(body: TimingBody) -> Timing:
    """Return the times in a message or verdict line."""
    return Timing(**body.model_dump())


def decided_from(line: VerdictLine | CoilLine) -> Verdict | CoilNotice:
    """Return the verdict or the coil's notice in a line of a verdict file, without roll marks and alarms."""
    events = tuple(event_from(one, np.array(one.runs, np.int32).reshape(-1, 3)) for one in line.defects)
    if isinstance(line, VerdictLine):
        return verdict_from(line, events, line.timing)
    return notice_from(line, events, line.timing)


def alarm_body_of(record: Record) -> AlarmBody:
    """Return the body of a journaled alarm."""
    message = parse(AlarmMessage, record.header)
    return AlarmBody(**{name: getattr(message, name) for name in AlarmBody.model_fields})
