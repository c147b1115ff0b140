"""What stands in for a frame that cannot be decided as it was predicted: its lines are missed, cause `untold`."""

from dataclasses import replace

import numpy as np

from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import CoverageSpan, Quality, StripArea, Verdict


def without_answers(prediction: Prediction) -> Prediction:
    """Return what is predicted of a frame of which nothing can be believed."""
    classes = prediction.classes
    return replace(
        prediction,
        edges=None,
        scored_px=0,
        tiles=(),
        screen_scores=np.zeros(0, np.float32),
        passed=np.zeros(0, bool),
        class_scores=np.zeros((0, len(classes)), np.float32),
        probability=np.zeros((0, 1, 1), np.uint8),
        engines=(),
        degraded=None,
        failed=Cause.UNTOLD,
    )


def undecided(prediction: Prediction) -> Verdict:
    """Return the verdict on a frame that no rule can decide, without regard to its neighbours."""
    frame = prediction.frame
    along_mm = (frame.along_mm, frame.along_mm + frame.lines * frame.mm_per_line)
    width_px = 0 if frame.pixels is None else frame.pixels.shape[1]
    area = StripArea(missed_mm2=round(width_px * frame.mm_per_px * frame.lines * frame.mm_per_line, 3))
    by_cause = ((Cause.UNTOLD, area.missed_mm2),)
    return Verdict(
        ordinal=frame.ordinal,
        sequence=frame.sequence,
        coil=frame.coil,
        side=frame.side,
        camera=frame.camera,
        first_line=frame.first_line,
        lines=frame.lines,
        valid_lines=frame.valid_lines,
        along_mm=along_mm,
        encoded=frame.encoded,
        strip_mm=None,
        spans=(CoverageSpan(frame.first_line, frame.lines, along_mm, Quality.MISSED, Cause.UNTOLD, area, by_cause),),
        tiles=0,
        tiles_passed=0,
        screen_peak=0.0,
        defects=(),
        alarms=(),
        engines=(),
        timing=prediction.timing,
        position_fault=frame.position_fault,
        place=frame.place,
        gap=frame.gap,
        calibration=frame.calibration,
        columns=frame.columns,
    )
