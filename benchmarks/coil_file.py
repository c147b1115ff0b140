"""Decisions of made-up coils, and their verdict files by the service's own writer: for tests and benchmarks of what
reads them. 1 mm a line, 0.5 mm a pixel, frames of 256 lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from linewatch.contracts.alarm import Alarm
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import (
    CoilNotice,
    CoilState,
    CoverageSpan,
    Decided,
    Defect,
    DefectEvent,
    DefectState,
    Extent,
    Quality,
    RunMask,
    StripArea,
    StripBox,
    Verdict,
)
from linewatch.geometry.runs import rectangle
from linewatch.wire.verdict_file import VerdictFile

LINES = 256
NO_TIMING = Timing()


def defect(name: str, along: float, across: float, **changes: Any) -> Defect:
    """20 mm long and 10 mm wide."""
    one = Defect(
        name,
        *("C1", "top", "cam1", "scratch"),
        confidence=0.9,
        peak=0.95,
        probability=0.95,
        box=StripBox((across, across + 10.0), (along, along + 20.0)),
        area_mm2=200.0,
        edge_mm=across,
        extent=Extent.MASK,
        frames=1,
        class_scores=(("scratch", 0.9), ("inclusion", 0.1)),
        length_mm=20.0,
        width_mm=10.0,
    )
    return replace(one, **changes)


def opened(one: Defect, state: DefectState = DefectState.OPENED) -> DefectEvent:
    """With a mask that fills its box; so far the whole of it lies in one frame."""
    (left, right), (begin, end) = one.box.across_mm, one.box.along_mm
    first = int(begin) // LINES * LINES
    runs = rectangle(round(2 * left), round(begin) - first, round(2 * right), round(end) - first)
    return DefectEvent(state, one, RunMask(first, runs))


def closed(one: Defect, merged_into: str | None = None) -> DefectEvent:
    return DefectEvent(DefectState.CLOSED, one, None, merged_into)


def _area(quality: Quality) -> StripArea:
    whole_mm2 = 780.0 * LINES
    if quality is Quality.INSPECTED:
        return StripArea(whole_mm2, 0.0, 0.0)
    return StripArea(0.0, 0.0, whole_mm2) if quality is Quality.MISSED else StripArea(0.0, whole_mm2, 0.0)


def frame(
    ordinal: int,
    events: Sequence[DefectEvent] = (),
    coil: str = "C1",
    quality: Quality = Quality.INSPECTED,
    alarms: Sequence[Alarm] = (),
    engines: tuple[str, ...] = ("screen@1", "classify@2"),
    timing: Timing = NO_TIMING,
    **more: Any,
) -> Verdict:
    first = ordinal * LINES
    along = (float(first), float(first + LINES))
    cause = {Quality.INSPECTED: None, Quality.DEGRADED: Cause.OVERLOAD, Quality.MISSED: Cause.LOST}[quality]
    return Verdict(
        ordinal=ordinal,
        sequence=ordinal,
        coil=coil,
        side="top",
        camera="cam1",
        first_line=first,
        lines=LINES,
        valid_lines=LINES,
        along_mm=along,
        encoded=True,
        strip_mm=None if quality is Quality.MISSED else (10.0, 790.0),
        spans=(CoverageSpan(first, LINES, along, quality, cause, _area(quality)),),
        tiles=7,
        tiles_passed=0,
        screen_peak=0.1,
        defects=tuple(events),
        alarms=tuple(alarms),
        engines=engines if quality is not Quality.MISSED else (),
        timing=timing,
        **more,
    )


def begins(coil: str = "C1", timing: Timing = NO_TIMING) -> CoilNotice:
    return CoilNotice(CoilState.STARTED, coil, "top", "cam1", 0.0, 0.0, 0.0, 0.0, {}, {}, (), (), timing)


def ends(along_mm: float, events: Sequence[DefectEvent] = (), coil: str = "C1", **more: Any) -> CoilNotice:
    state, sums = CoilState.ENDED, (along_mm, along_mm, 0.0, 0.0, {}, {})
    return CoilNotice(state, coil, "top", "cam1", *sums, tuple(events), (), NO_TIMING, **more)


def write(path: Path, decisions: Iterable[Decided]) -> Path:
    with VerdictFile(path) as file:
        for decided in decisions:
            file.write(decided)
    return path
