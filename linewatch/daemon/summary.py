"""The summary of a replay as rows of a table."""

from linewatch.daemon.replay import ReplaySummary
from linewatch.terminal import grade_rows, percent


def summary_rows(summary: ReplaySummary, pace: str = "") -> list[tuple[str, str]]:
    """Return names and values; `pace` is a remark that follows the speed."""
    counted = ", ".join(f"{name} {count}" for name, count in summary.defects_by_class.items()) or "none"
    missed = "; ".join(_lost(summary, cause) for cause in summary.uninspected_mm2_by_cause)
    return [
        ("coil", summary.coil),
        ("length", f"{summary.metres:.1f} m in {summary.frames} frames"),
        (
            "coverage",
            f"{percent(summary.coverage)} of the strip's area" + (f"  (not inspected: {missed})" if missed else ""),
        ),
        *([("calibration", f"{summary.calibration} of the camera was applied")] if summary.calibration else []),
        ("defects by class", counted),
        ("of these tentative", f"{summary.defects_tentative}: reported, but they neither grade nor alarm"),
        ("roll marks", str(summary.roll_marks)),
        *grade_rows(summary.grade),
        ("alarms raised", str(summary.alarms)),
        ("tiles", f"{summary.tiles} on the strip, {summary.tiles_passed} in which a defect was suspected"),
        ("speed", f"{summary.frames_per_s:.1f} frames/s{pace}"),
        (
            "latency",
            f"p50 {summary.latency_p50_ms:.0f} ms, p99 {summary.latency_p99_ms:.0f} ms, last line to publication",
        ),
    ]


def _lost(summary: ReplaySummary, cause: str) -> str:
    """Return the area that was lost to a cause, and how many lines were lost mainly to it."""
    text = f"{cause} {summary.uninspected_mm2_by_cause[cause] / 1e6:.3f} m2"
    lines = summary.lines_missed_by_cause.get(cause)
    return f"{text}, {lines} lines" if lines else text
