"""Take up the coil that was under way when the service was killed, from what its journal holds of each frame.

It goes on as if the service had been there and had missed the strip meanwhile: its open defects are closed where they
were seen last, as before any strip that was missed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import Alarm
from linewatch.contracts.coil import CoilConditions
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.verdict import CoverageSpan, Defect, DefectEvent, DefectState
from linewatch.decision.alarms import camera_alarms
from linewatch.decision.alarms.system import Uninspected
from linewatch.decision.decide import DecisionState, RunningCoil, account
from linewatch.decision.grading.grade import GradingState
from linewatch.decision.rollmarks.rows import Recurrence, follow_rolls
from linewatch.decision.rules import DecisionRules


@dataclass(frozen=True, slots=True)
class PastFrame:
    """A frame as it was told: what the sums over its coil need of it.

    closed: defects that closed for good in it. periodic: ids of defects that it told to be roll marks.
    """

    spans: tuple[CoverageSpan, ...]
    along_mm: tuple[float, float]
    strip_mm: tuple[float, float] | None
    closed: tuple[Defect, ...] = ()
    periodic: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnfinishedCoil:
    """A coil that has begun and not ended. conditions: as known with its last frame. open_defects: oldest first."""

    coil: str
    side: str
    camera: str
    source_coil: str
    head_line: int
    next_line: int
    mm_per_line: float
    columns: AcrossMap
    captured_ns: int
    conditions: CoilConditions
    config: str
    frames: Sequence[PastFrame]
    open_defects: tuple[Defect, ...]


def resumed(
    past: UnfinishedCoil | None, standing: Iterable[Alarm], passed: tuple[str, ...], rules: DecisionRules
) -> DecisionState:
    """Return the state behind the last frame of an earlier run. past: None: no coil was under way.

    standing: alarms and shelves that the journal retained. passed: names of coils that ended.
    """
    state = DecisionState.initial(standing)
    if past is None:
        return replace(state, passed=passed)
    coil, uninspected = _begun(past, rules), Uninspected()
    within_mm = rules.system_alarms.coverage_within_m * 1000 if rules.system_alarms else 0.0
    for frame in past.frames:
        coil = _after(coil, frame, past, rules)
        if within_mm and frame.along_mm[1] > rules.alarm_settings.head_exclusion_m * 1000:
            uninspected = uninspected.plus(frame.along_mm, frame.spans, within_mm)
    coil = replace(coil, next_line=past.next_line, interrupted=past.open_defects)
    alarms = camera_alarms.goes_on(state.alarms, coil.coil, coil.end_mm, uninspected)
    return DecisionState(coil, alarms, passed)


def _begun(past: UnfinishedCoil, rules: DecisionRules) -> RunningCoil:
    begin_mm = past.frames[0].along_mm[0] if past.frames else 0.0
    return RunningCoil(
        coil=past.coil,
        side=past.side,
        camera=past.camera,
        next_line=past.next_line,
        end_mm=begin_mm,
        captured_ns=past.captured_ns,
        grading=None if rules.grading is None else GradingState.begin(rules.grading),
        recurrence=Recurrence.initial(begin_mm, rules.periodic, rules.rolls),
        conditions=past.conditions,
        source_coil=past.source_coil,
        head_line=past.head_line,
        config=past.config,
    )


def _after(coil: RunningCoil, frame: PastFrame, past: UnfinishedCoil, rules: DecisionRules) -> RunningCoil:
    events = tuple(DefectEvent(DefectState.CLOSED, defect, None) for defect in frame.closed)
    genuine = [defect for defect in frame.closed if defect.defect_class not in rules.pseudo_classes]
    recurrence, _ = follow_rolls(coil.recurrence, genuine, frame.along_mm[1])
    width = coil.width
    if frame.strip_mm is not None:
        left_px, right_px = (past.columns.column(mm) for mm in frame.strip_mm)
        width_px = round(right_px - left_px)
        width = width.after(StripEdges(0, width_px, left_found=True, right_found=True))
    coil = replace(coil, recurrence=recurrence, width=width, end_mm=frame.along_mm[1])
    return account(coil, events, frame.spans, past.mm_per_line, frozenset(frame.periodic))
