"""Decisions of one camera: state in, state out. No clock, no I/O, no threads; equal input gives equal output."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from linewatch.contracts.frame import StripEdges
from linewatch.contracts.prediction import Prediction, Timing
from linewatch.contracts.verdict import (
    Alarm,
    CoilNotice,
    CoilState,
    Decided,
    DefectEvent,
    DefectState,
    Quality,
    Verdict,
)
from linewatch.decision.alarms import Watch, end_watches, judge, start_watches
from linewatch.decision.components import find_pieces
from linewatch.decision.coverage import CoverageSums, spans_of
from linewatch.decision.rules import DecisionRules
from linewatch.decision.tracks import Track, close_all, follow
from linewatch.geometry.strip import StripScale


@dataclass(frozen=True, slots=True)
class CoilSoFar:
    """The coil under the camera. `tracks` are its open defects, which end at `next_line` or go on there."""

    coil: str
    side: str
    camera: str
    next_line: int
    end_mm: float
    captured_ns: int
    classes: tuple[str, ...] = ()
    tracks: tuple[Track, ...] = ()
    watches: tuple[Watch, ...] = ()
    sums: CoverageSums = field(default_factory=CoverageSums)
    defects_by_class: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DecisionState:
    """All that decisions remember between frames. standing: alarms of an earlier run, until the first coil is known."""

    coil: CoilSoFar | None = None
    standing: tuple[Alarm, ...] = ()

    @classmethod
    def initial(cls, standing: Iterable[Alarm] = ()) -> Self:
        """Before the first frame. standing: alarms that the journal knows as raised (restart after a crash)."""
        return cls(standing=tuple(standing))


def decide(
    state: DecisionState, prediction: Prediction, rules: DecisionRules
) -> tuple[DecisionState, tuple[Decided, ...]]:
    """The next frame's verdict, after the notices of a coil that ended and of one that began with it.

    Predictions come in strip order. Every frame gives exactly one verdict, inspected or not.
    """
    frame = prediction.frame
    notices: list[CoilNotice] = []
    coil = state.coil
    if coil is not None and coil.coil != frame.coil:
        notices += finish(state)
        coil = None
    if coil is None:
        watches, cleared = start_watches(rules, state.standing, frame.coil, frame.side, frame.camera)
        coil = CoilSoFar(
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            next_line=frame.first_line,
            end_mm=frame.along_mm,
            captured_ns=frame.captured_ns,
            watches=watches,
        )
        notices.append(_notice(coil, CoilState.STARTED, (), cleared))
    coil, verdict = _decide_frame(coil, prediction, rules)
    return DecisionState(coil), (*notices, verdict)


def finish(state: DecisionState) -> tuple[CoilNotice, ...]:
    """The end of the stream or of a coil: its notice with sums, defects closed, alarms cleared; () without a coil."""
    if state.coil is None:
        return ()
    events = close_all(state.coil.tracks)
    coil = _count(state.coil, events)
    return (_notice(coil, CoilState.ENDED, events, end_watches(coil.watches)),)


def _decide_frame(coil: CoilSoFar, prediction: Prediction, rules: DecisionRules) -> tuple[CoilSoFar, Verdict]:
    frame, edges = prediction.frame, prediction.edges
    spans = spans_of(prediction)
    pieces = find_pieces(prediction, rules)
    # Class scores of different engines do not add up, nor do defects grow over lines that nobody saw.
    engines_changed = bool(pieces) and prediction.classes != coil.classes
    broken = engines_changed or frame.first_line != coil.next_line
    looked_through = all(span.quality is Quality.INSPECTED for span in spans)
    cut_off = close_all(coil.tracks) if broken else ()
    tracks, events = follow(() if broken else coil.tracks, pieces, prediction, rules, continues=looked_through)
    events = (*cut_off, *events)

    scale = StripScale.of(frame, rules.across_offset_mm)
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
        position_fault=frame.position_fault,
    )
    watches, alarms = judge(coil.watches, verdict, rules)
    coil = replace(
        _count(coil, events),
        next_line=frame.first_line + frame.lines,
        end_mm=verdict.along_mm[1],
        captured_ns=frame.captured_ns,
        classes=prediction.classes if pieces else coil.classes,
        tracks=tracks,
        watches=watches,
        sums=coil.sums.plus(spans, frame.mm_per_line),
    )
    return coil, replace(verdict, alarms=alarms)


def _strip_mm(edges: StripEdges | None, scale: StripScale) -> tuple[float, float] | None:
    if edges is None or edges.left_px >= edges.right_px:
        return None
    return scale.across(edges.left_px), scale.across(edges.right_px)


def _count(coil: CoilSoFar, events: tuple[DefectEvent, ...]) -> CoilSoFar:
    """A defect counts when it closes: then its class is final. One that merged counts as the other."""
    counts = dict(coil.defects_by_class)
    for event in events:
        if event.state is DefectState.CLOSED and event.merged_into is None:
            counts[event.defect.defect_class] = counts.get(event.defect.defect_class, 0) + 1
    return replace(coil, defects_by_class=tuple(sorted(counts.items())))


def _notice(
    coil: CoilSoFar, state: CoilState, defects: tuple[DefectEvent, ...], alarms: tuple[Alarm, ...]
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
    )
