"""Passages and defects of the history as the objects that the pages' scripts take: lengths in mm, times in Unix ms."""

from typing import Any

from linewatch.contracts.verdict import from_tail
from linewatch.history.labels import Label
from linewatch.history.queries import DefectRow
from linewatch.history.rolls import RollMarkRow
from linewatch.history.search import CoilFacts


def coil_json(facts: CoilFacts) -> dict[str, Any]:
    """Return a passage in a list."""
    row = facts.row
    return {
        "passage": row.passage,
        "coil": row.coil,
        "service": row.service,
        "side": row.side,
        "camera": row.camera,
        "begun_unix_ms": row.begun_unix_ns // 1_000_000,
        "ended_unix_ms": None if row.ended_unix_ns is None else row.ended_unix_ns // 1_000_000,
        "passed_mm": row.passed_mm,
        "degraded_mm": row.degraded_mm,
        "missed_mm": row.missed_mm,
        "unrecorded_mm": row.unrecorded_mm,
        "inspected_share": row.inspected_share if row.passed_mm > 0 else None,
        "inspected_km": facts.inspected_km,
        "encoded": row.encoded,
        "grade": row.grade,
        "product": facts.product,
        "customer": facts.customer,
        "called": facts.called,
        "tentative": sum(row.defects_by_class.values()) - facts.called,
        "called_by_class": facts.called_by_class,
        "called_per_km": facts.called_per_km,
        "alarms": row.alarms,
        "roll_marks": facts.roll_marks,
        "lost_mm2": facts.uninspected_mm2_by_cause,
    }


def defect_json(row: DefectRow, length_mm: float, label: Label | None = None) -> dict[str, Any]:
    """Return a defect. length_mm: of its passage, from whose tail its place is given as well."""
    defect = row.defect
    return {
        "number": row.number,
        "passage": row.passage,
        "id": defect.id,
        "coil": defect.coil,
        "side": defect.side,
        "camera": defect.camera,
        "state": row.state,
        "class": defect.defect_class,
        "scores": [[name, score] for name, score in defect.class_scores],
        "confidence": defect.confidence,
        "probability": defect.probability,
        "severity": defect.severity,
        "tentative": defect.tentative,
        "excluded": defect.excluded,
        "along_mm": defect.box.along_mm,
        "from_tail_mm": from_tail(defect.box.along_mm, length_mm),
        "across_mm": defect.box.across_mm,
        "edge_mm": defect.edge_mm,
        "area_mm2": defect.area_mm2,
        "length_mm": defect.length_mm,
        "width_mm": defect.width_mm,
        "orientation_deg": defect.orientation_deg,
        "contrast": defect.contrast,
        "part_of": defect.part_of,
        "label": None if label is None else label_json(label),
    }


def label_json(label: Label) -> dict[str, Any]:
    """Return what a person has said of a defect."""
    return {
        "verdict": label.verdict,
        "right_class": label.right_class,
        "who": label.who,
        "said_unix_ms": label.said_unix_ns // 1_000_000,
    }


def roll_mark_json(row: RollMarkRow) -> dict[str, Any]:
    """Return a row of roll marks."""
    mark = row.mark
    return {
        "passage": row.passage,
        "coil": row.coil,
        "service": row.service,
        "begun_unix_ms": row.begun_unix_ns // 1_000_000,
        "roll": row.roll,
        "stand": row.stand,
        "share": mark.suspects[0].share if mark.suspects else None,
        "suspects": [
            {"roll": one.roll, "stand": one.stand, "share": one.share, "diameter_mm": one.diameter_mm}
            for one in mark.suspects
        ],
        "class": mark.defect_class,
        "state": mark.state,
        "pitch_mm": mark.pitch_mm,
        "pitch_error_mm": mark.pitch_error_mm,
        "confidence": mark.confidence,
        "marks": mark.marks,
        "marks_due": mark.marks_due,
        "along_mm": mark.along_mm,
        "across_mm": mark.across_mm,
    }
