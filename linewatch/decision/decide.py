"""Decide what one camera has seen: state in, state out. No clock, I/O or threads; equal input gives equal output."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from linewatch.contracts.alarm import Alarm, AlarmNotice, AlarmOrder, HostState
from linewatch.contracts.coil import CoilConditions
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.prediction import Prediction, Timing
from linewatch.contracts.restart import CAMERA_AWAY, RESTARTED
from linewatch.contracts.verdict import (
    CoilGrade,
    CoilNotice,
    CoilState,
    CoverageSpan,
    Decided,
    Defect,
    DefectEvent,
    DefectState,
    Quality,
    RollMark,
    Verdict,
)
from linewatch.decision.alarms import camera_alarms
from linewatch.decision.alarms.camera_alarms import Alarms
from linewatch.decision.coverage import CoverageSums, WidthExpectation, mm_per_px_of, spans_of
from linewatch.decision.defects.components import find_pieces
from linewatch.decision.defects.tracks import Track, close_all, follow
from linewatch.decision.grading.grade import GradingState, finish_grading, observe, regraded
from linewatch.decision.grading.severity import GradingRules, severities_of
from linewatch.decision.rollmarks.rows import Recurrence, end_rolls, follow_rolls
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.strip import StripScale

NAMES_KEPT = 1_024
AGAIN = "another coil of this name has passed: coil_ordinal tells them apart"
GRADED_AS_BEGUN = "graded by the rules that it began with: too many defects had passed when its data came"
GRADED_LATE = "graded from where its data came: there were no rules before"


@dataclass(frozen=True, slots=True)
class RunningCoil:
    """The coil under the camera. `tracks` are its open defects: each ends at `next_line` or continues there.

    interrupted: defects that were open when the service was killed; they close with the next frame.
    """

    coil: str
    side: str
    camera: str
    next_line: int
    end_mm: float
    captured_ns: int
    recurrence: Recurrence
    classes: tuple[str, ...] = ()
    tracks: tuple[Track, ...] = ()
    sums: CoverageSums = field(default_factory=CoverageSums)
    defects_by_class: tuple[tuple[str, int], ...] = ()
    width: WidthExpectation = field(default_factory=WidthExpectation)
    grading: GradingState | None = None
    conditions: CoilConditions = field(default_factory=CoilConditions)
    source_coil: str = ""
    head_line: int = 0
    config: str = ""
    interrupted: tuple[Defect, ...] = ()


@dataclass(frozen=True, slots=True)
class DecisionState:
    """Everything that is remembered between frames."""

    coil: RunningCoil | None = None
    alarms: Alarms = field(default_factory=Alarms)
    passed: tuple[str, ...] = ()  # names of the newest coils that ended

    @classmethod
    def initial(cls, standing: Iterable[Alarm] = ()) -> Self:
        """Return the state before the first frame. standing: alarms and shelves that the journal retained."""
        return cls(alarms=camera_alarms.initial(standing))


def decide(
    state: DecisionState, prediction: Prediction, rules: DecisionRules
) -> tuple[DecisionState, tuple[Decided, ...]]:
    """Return the next frame's verdict, preceded by the notices of a coil that ended and of one that began with it.

    Predictions must come in strip order. Every frame gives exactly one verdict, whether it was inspected or not.
    """
    frame = prediction.frame
    notices: list[CoilNotice] = []
    coil, alarms, passed = state.coil, state.alarms, state.passed
    if coil is not None and (coil.coil != frame.coil or (frame.gap is not None and not frame.gap.goes_on)):
        alarms, notice = _end(coil, alarms)
        notices.append(notice)
        passed = (*passed, coil.coil)[-NAMES_KEPT:]
        coil = None
    if coil is None:
        coil = RunningCoil(
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            next_line=frame.first_line,
            end_mm=frame.along_mm,
            captured_ns=frame.captured_ns,
            grading=None if rules.grading is None else GradingState.begin(rules.grading),
            recurrence=Recurrence.initial(frame.along_mm, rules.periodic, rules.rolls),
            conditions=rules.conditions.noted(AGAIN) if frame.coil in passed else rules.conditions,
            source_coil=frame.source_coil,
            head_line=frame.head_line,
            config=rules.config,
        )
        alarms, notice = begin_coil(coil, alarms, rules)
        notices.append(notice)
    before, coil = coil, led_by(coil, rules)
    if frame.gap is not None:
        coil = replace(coil, conditions=coil.conditions.noted(frame.gap.note(frame.along_mm)))
    coil, verdict = _decide_frame(coil, prediction, rules)
    if coil.conditions.data != before.conditions.data:
        verdict = replace(verdict, coil_data=coil.conditions.data)
    if coil.config != before.config:
        verdict = replace(verdict, config=coil.config)
    alarms, transitions = camera_alarms.follow_verdict(alarms, verdict, rules)
    if frame.picture is not None:
        alarms, more = camera_alarms.follow_picture(alarms, frame.picture, verdict, rules)
        transitions += more
    verdict = replace(verdict, alarms=transitions) if transitions else verdict
    return DecisionState(coil, alarms, passed), (*notices, verdict)


def follow_host(
    state: DecisionState, host: HostState, rules: DecisionRules
) -> tuple[DecisionState, tuple[AlarmNotice, ...]]:
    """Return the alarm transitions that the clock and the host's state cause between two frames; usually none."""
    alarms, transitions = camera_alarms.follow_host(state.alarms, host, rules)
    notices = (AlarmNotice(transitions, Timing()),) if transitions else ()
    return replace(state, alarms=alarms), notices


def carry_out(state: DecisionState, order: AlarmOrder, rules: DecisionRules) -> tuple[DecisionState, AlarmNotice]:
    """Carry out an operator's command between two frames. Every command is answered by exactly one notice."""
    alarms, transitions, refusal = camera_alarms.carry_out(state.alarms, order, rules)
    notice = AlarmNotice(transitions, Timing(), order.command, refusal.text if refusal else None)
    return replace(state, alarms=alarms), notice


def so_far(coil: RunningCoil) -> CoilNotice:
    """Return the notice of a coil's start, with its sums so far."""
    return _notice(coil, CoilState.STARTED, (), ())


def finish(state: DecisionState) -> tuple[CoilNotice, ...]:
    """End the coil: return its notice with all sums, its defects closed, roll marks ended and alarms cleared.

    Return () when no coil is under the camera.
    """
    return () if state.coil is None else (_end(state.coil, state.alarms)[1],)


def led_by(coil: RunningCoil, rules: DecisionRules) -> RunningCoil:
    """Return the coil under the rules of its next frame: data that arrive while it runs hold for its whole grade."""
    if coil.config != rules.config:
        coil = replace(coil, config=rules.config)
    now, then = rules.conditions, coil.conditions
    if (now.data, now.recipe, now.head_mm, now.tail_mm) == (then.data, then.recipe, then.head_mm, then.tail_mm):
        return coil
    notes = tuple(
        note
        for note in then.notes
        if note in (AGAIN, GRADED_AS_BEGUN, GRADED_LATE) or note.startswith((RESTARTED, CAMERA_AWAY))
    )
    grading = coil.grading
    if rules.grading is None:
        grading = None
    elif grading is None:
        grading, notes = GradingState.begin(rules.grading), (*notes, GRADED_LATE)
    elif grading.rules != rules.grading:
        grading = regraded(grading, rules.grading)
        if grading is None:
            grading, notes = coil.grading, (*notes, GRADED_AS_BEGUN)
    tracks = coil.tracks
    if (grading and grading.rules) != (coil.grading and coil.grading.rules):
        tracks = _rated(tracks, grading.rules if grading else None)
    return replace(coil, tracks=tracks, grading=grading, conditions=now.noted(*notes))


def _end(coil: RunningCoil, alarms: Alarms) -> tuple[Alarms, CoilNotice]:
    events = *closed(coil.interrupted), *close_all(coil.tracks)
    return end_coil(coil, alarms, events, end_rolls(coil.recurrence))


def begin_coil(coil: RunningCoil, alarms: Alarms, rules: DecisionRules) -> tuple[Alarms, CoilNotice]:
    """Return the alarms of a coil that begins, and the notice of its start."""
    alarms, cleared = camera_alarms.start_coil(alarms, rules, coil.coil, coil.side, coil.camera)
    return alarms, _notice(coil, CoilState.STARTED, (), cleared)


def end_coil(
    coil: RunningCoil, alarms: Alarms, events: tuple[DefectEvent, ...], roll_marks: tuple[RollMark, ...]
) -> tuple[Alarms, CoilNotice]:
    """Return the alarms after a coil that ends, and the notice of its end. events: they close its open defects."""
    events = marked(coil, events, coil.end_mm)
    alarms, cleared = camera_alarms.end_coil(alarms)
    coil = _count(coil, events)
    grading = _graded(coil, events, {name for mark in roll_marks for name in mark.defect_ids})
    grade = None if grading is None else finish_grading(grading)
    if grade is not None and coil.conditions.notes:
        grade = replace(grade, text="; ".join((grade.text, *coil.conditions.notes)))
    return alarms, replace(_notice(coil, CoilState.ENDED, events, cleared, grade), roll_marks=roll_marks)


def _decide_frame(coil: RunningCoil, prediction: Prediction, rules: DecisionRules) -> tuple[RunningCoil, Verdict]:
    frame, edges = prediction.frame, prediction.edges
    width = coil.width.given(
        coil.conditions.data, rules.strip_width_mm, rules.view_width_px, rules.strip_taper, mm_per_px_of(prediction)
    )
    spans = spans_of(prediction, width)
    pieces = find_pieces(prediction, rules)
    # Class scores of different engines cannot be added, and a defect does not continue across lines that were missed.
    engines_changed = bool(pieces) and prediction.classes != coil.classes
    broken = engines_changed or frame.first_line != coil.next_line
    doubt = edges.doubt if edges is not None else None  # such lines are looked through all the same
    looked_through = all(
        span.quality is Quality.INSPECTED or (span.quality is Quality.DEGRADED and span.cause is doubt)
        for span in spans
    )
    cut_off = (*closed(coil.interrupted), *(close_all(coil.tracks) if broken else ()))
    known, graded_by = () if broken else coil.tracks, coil.grading.rules if coil.grading else None
    tracks, events = follow(known, pieces, prediction, rules, graded_by, continues=looked_through)
    events = marked(coil, (*cut_off, *events))

    scale = StripScale.of(frame)
    recurrence, roll_marks = follow_rolls(coil.recurrence, genuine(events, rules), scale.along(frame.lines))
    verdict = Verdict(
        ordinal=frame.ordinal,
        sequence=frame.sequence,
        coil=frame.coil,
        side=frame.side,
        camera=frame.camera,
        first_line=frame.first_line,
        lines=frame.lines,
        valid_lines=frame.valid_lines,
        along_mm=(frame.along_mm, scale.along(frame.lines)),
        encoded=frame.encoded,
        strip_mm=_strip_mm(edges, scale),
        spans=spans,
        tiles=len(prediction.tiles),
        tiles_passed=int(prediction.passed.sum()),
        screen_peak=float(prediction.screen_scores.max(initial=0.0)),
        defects=events,
        alarms=(),
        engines=prediction.engines,
        timing=prediction.timing,
        roll_marks=roll_marks,
        position_fault=frame.position_fault,
        place=frame.place,
        gap=frame.gap,
        calibration=frame.calibration,
        columns=frame.columns,
    )
    periodic = frozenset(name for mark in roll_marks for name in mark.defect_ids)
    coil = replace(
        account(replace(coil, end_mm=verdict.along_mm[1]), events, spans, frame.mm_per_line, periodic),
        next_line=frame.first_line + frame.lines,
        captured_ns=frame.captured_ns,
        classes=prediction.classes if pieces else coil.classes,
        tracks=tracks,
        recurrence=recurrence,
        width=width.after(edges),
        interrupted=(),
    )
    return coil, verdict


def account(
    coil: RunningCoil,
    events: tuple[DefectEvent, ...],
    spans: tuple[CoverageSpan, ...],
    mm_per_line: float,
    periodic: frozenset[str],
) -> RunningCoil:
    """Return the coil with the sums and the grading after a frame that ends at its `end_mm`.

    periodic: ids of the defects that the frame told to be roll marks.
    """
    return replace(
        _count(coil, events),
        sums=coil.sums.plus(spans, mm_per_line),
        grading=_graded(coil, events, periodic, spans, coil.end_mm),
    )


def closed(defects: tuple[Defect, ...]) -> tuple[DefectEvent, ...]:
    """Return the events that close these defects."""
    return tuple(DefectEvent(DefectState.CLOSED, defect, None) for defect in defects)


def _strip_mm(edges: StripEdges | None, scale: StripScale) -> tuple[float, float] | None:
    if edges is None or edges.left_px >= edges.right_px:
        return None
    return scale.across(edges.left_px), scale.across(edges.right_px)


def genuine(events: tuple[DefectEvent, ...], rules: DecisionRules) -> list[Defect]:
    """Return each complete defect once: the candidates for roll marks."""
    return [
        event.defect
        for event in events
        if _closed_for_good(event) and event.defect.defect_class not in rules.pseudo_classes
    ]


def _count(coil: RunningCoil, events: tuple[DefectEvent, ...]) -> RunningCoil:
    """Count defects when they close, because their class is final then. A merged defect counts as the surviving one."""
    counts = dict(coil.defects_by_class)
    for event in events:
        if _closed_for_good(event):
            counts[event.defect.defect_class] = counts.get(event.defect.defect_class, 0) + 1
    return replace(coil, defects_by_class=tuple(sorted(counts.items())))


def marked(coil: RunningCoil, events: tuple[DefectEvent, ...], end_mm: float | None = None) -> tuple[DefectEvent, ...]:
    """Return the events, with `excluded` set on defects that lie in an excluded end of the coil."""
    conditions = coil.conditions
    if not (conditions.head_mm or conditions.tail_mm):
        return events
    return tuple(
        replace(event, defect=replace(event.defect, excluded=True))
        if conditions.excludes(event.defect.box.along_mm, end_mm)
        else event
        for event in events
    )


def _rated(tracks: tuple[Track, ...], rules: GradingRules | None) -> tuple[Track, ...]:
    """Return open defects with their severities recomputed under other rules."""
    severities = severities_of([track.defect for track in tracks], rules) if rules else [None] * len(tracks)
    return tuple(
        replace(track, defect=replace(track.defect, severity=severity))
        for track, severity in zip(tracks, severities, strict=True)
    )


def _graded(
    coil: RunningCoil,
    events: tuple[DefectEvent, ...],
    periodic: Collection[str],
    spans: tuple[CoverageSpan, ...] = (),
    end_mm: float = 0.0,
) -> GradingState | None:
    if coil.grading is None:
        return None
    closed = [event.defect for event in events if _closed_for_good(event)]
    return observe(coil.grading, closed, spans, end_mm, periodic)


def _closed_for_good(event: DefectEvent) -> bool:
    return event.state is DefectState.CLOSED and event.merged_into is None


def _notice(
    coil: RunningCoil,
    state: CoilState,
    defects: tuple[DefectEvent, ...],
    alarms: tuple[Alarm, ...],
    grade: CoilGrade | None = None,
) -> CoilNotice:
    return CoilNotice(
        state=state,
        coil=coil.coil,
        side=coil.side,
        camera=coil.camera,
        along_mm=coil.end_mm,
        inspected_mm=coil.sums.inspected_mm,
        degraded_mm=coil.sums.degraded_mm,
        missed_mm=coil.sums.missed_mm,
        missed_lines_by_cause={cause.value: lines for cause, lines in coil.sums.missed_lines},
        defects_by_class=dict(coil.defects_by_class),
        defects=defects,
        alarms=alarms,
        timing=Timing(captured_ns=coil.captured_ns),
        area=coil.sums.area,
        uninspected_mm2_by_cause={cause.value: mm2 for cause, mm2 in coil.sums.uninspected_mm2},
        grade=grade,
        conditions=coil.conditions,
        source_coil=coil.source_coil,
        head_line=coil.head_line,
        config=coil.config,
    )
