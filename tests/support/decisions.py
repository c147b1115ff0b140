"""Decisions as the decision room makes them, for the tests of the wire and the client."""

from dataclasses import replace

import cv2
import numpy as np

from linewatch.contracts.alarm import Alarm, AlarmState
from linewatch.contracts.crop import Crop, CropWindow
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import (
    CoilGrade,
    CoilNotice,
    CoilState,
    CoverageSpan,
    Defect,
    DefectEvent,
    DefectState,
    Extent,
    GradeReason,
    Quality,
    RollMark,
    RollMarkState,
    RollSuspect,
    RunMask,
    StripArea,
    StripBox,
    Verdict,
)

STRIP_MM = 780.0
LINES = 256


def defect_event(
    ordinal: int, state: DefectState = DefectState.OPENED, runs: int = 3, name: str | None = None
) -> DefectEvent:
    first = ordinal * LINES
    box = StripBox((100.0, 130.25), (float(first), first + runs + 0.12345))
    defect = Defect(
        name or f"C1/top/cam1/{first}.200",
        *("C1", "top", "cam1", "scratch"),
        confidence=np.float32(0.9123456),
        peak=0.99,
        probability=0.99,
        box=box,
        area_mm2=12.5,
        edge_mm=None,
        extent=Extent.MASK,
        frames=1,
    )
    rows = np.array([[row // 8, 16 * (row % 8), 16 * (row % 8) + 5] for row in range(runs)], np.int32).reshape(-1, 3)
    return DefectEvent(state, defect, RunMask(first, rows) if runs else None)


def crop(
    ordinal: int, passage: int = 0, size: int = 40, severity: int | None = None, name: str | None = None, **more
) -> Crop:
    """Noise around the defect of that frame: its window begins 5 lines and 10 columns before the mask's origin."""
    defect = replace(defect_event(ordinal, name=name).defect, severity=severity or None, **more)
    noise = np.random.default_rng(ordinal).integers(0, 256, (size, size), np.uint8)
    first = max(0, ordinal * LINES - 5)
    box = StripBox((95.0, 95.0 + size / 2), (float(first), float(first + size)))
    _, png = cv2.imencode(".png", noise)
    return Crop(defect, passage, None, ordinal, 1, CropWindow(first, size, 0, size, box), 1.0, png.tobytes())


def alarm(ordinal: int, state: AlarmState = AlarmState.RAISED, name: str | None = None) -> Alarm:
    return Alarm(
        name or f"scratches/C1/{ordinal}",
        rule="scratches",
        state=state,
        latched=True,
        coil="C1",
        side="top",
        camera="cam1",
        along_mm=ordinal * LINES + 0.5,
        defect_ids=(f"C1/top/cam1/{ordinal * LINES}.200",),
        text="3 scratches within 1 m",
        retain=state is AlarmState.RAISED,
    )


def verdict(
    ordinal: int,
    defects: tuple[DefectEvent, ...] = (),
    alarms: tuple[Alarm, ...] = (),
    missed_lines: int = 0,
    timing: Timing | None = None,
) -> Verdict:
    first, end = ordinal * LINES, (ordinal + 1) * LINES
    seen = end - missed_lines
    area = StripArea(round(STRIP_MM * (LINES - missed_lines) - 0.5, 3), 0.0, 0.5)
    spans = [CoverageSpan(first, LINES - missed_lines, (float(first), float(seen)), Quality.INSPECTED, None, area)]
    if missed_lines:
        lost = StripArea(0.0, 0.0, STRIP_MM * missed_lines)
        spans.append(CoverageSpan(seen, missed_lines, (float(seen), float(end)), Quality.MISSED, Cause.TRUNCATED, lost))
    return Verdict(
        ordinal=ordinal,
        sequence=ordinal + 10,
        coil="C1",
        side="top",
        camera="cam1",
        first_line=first,
        lines=LINES,
        valid_lines=LINES - missed_lines,
        along_mm=(float(first), float(end)),
        encoded=True,
        strip_mm=(10.0, 790.0),
        spans=tuple(spans),
        tiles=7,
        tiles_passed=np.int64(len(defects)),
        screen_peak=np.float32(0.25),
        defects=defects,
        alarms=alarms,
        engines=("openvino@0123456789ab/openvino-2026.4.1/int8/avx512_vnni",),
        timing=timing or Timing(captured_ns=1000 + ordinal),
    )


def coil_notice(state: CoilState, along_mm: float = 0.0, defects: tuple[DefectEvent, ...] = ()) -> CoilNotice:
    return CoilNotice(
        *(
            state,
            "C1",
            "top",
            "cam1",
            along_mm,
            along_mm,
            0.0,
            0.0,
            {},
            {"scratch": len(defects)},
            defects,
            (),
            Timing(),
        ),
        area=StripArea(STRIP_MM * along_mm, 0.0, 0.0),
    )


def coil_grade() -> CoilGrade:
    reason = GradeReason("long-scratches", "C", "3 scratch defects, more than 2", ("C1/top/cam1/0.200",))
    return CoilGrade(
        grade="C",
        text="C, of 97.2 % inspected",
        rules="customer@0123456789ab",
        product="DC04",
        customer="any",
        graded_mm=(1000.0, 99_000.00049),
        inspected_share=0.9721,
        defects_by_severity={2: 4, 4: 3},
        reasons=(reason,),
    )


def roll_mark(state: RollMarkState = RollMarkState.RECOGNISED, name: str = "C1/top/cam1/0.200/roll") -> RollMark:
    return RollMark(
        name,
        state,
        *("C1", "top", "cam1", "torn_spot"),
        pitch_mm=1900.12345,
        pitch_error_mm=0.5,
        confidence=np.float64(0.99987),
        marks=5,
        marks_due=6,
        across_mm=(100.0, 112.5),
        along_mm=(0.0, 9512.0),
        defect_ids=("C1/top/cam1/0.200", "C1/top/cam1/1900.200"),
        suspects=(RollSuspect("F7 top", "F7", (1800.0, 2100.0), (600.0, 610.5), 1, 1.0),),
    )
