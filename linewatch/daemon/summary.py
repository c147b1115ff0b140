"""The summary of a replay as rows of a table."""

from linewatch.daemon.replay import ReplaySummary
from linewatch.terminal import grade_rows


def summary_rows(summary: ReplaySummary, pace: str = "") -> list[tuple[str, str]]:
    """Return names and values; `pace` is a remark that follows the speed."""
    counted = ", ".join(f"{name} {count}" for name, count in summary.defects_by_class.items()) or "none"
    missed = ", ".join(f"{cause} {lines} lines" for cause, lines in summary.lines_missed_by_cause.items())
    return [
        ("coil", summary.coil),
        ("length", f"{summary.metres:.1f} m in {summary.frames} frames"),
        ("coverage", f"{summary.coverage:.2%}" + (f"  (not inspected: {missed})" if missed else "")),
        ("defects by class", counted),
        ("of these tentative", f"{summary.defects_tentative}: reported, but they neither grade nor alarm"),
        ("roll marks", str(summary.roll_marks)),
        *grade_rows(summary.grade),
        ("alarms raised", str(summary.alarms)),
        ("tiles", f"{summary.tiles} on the strip, {summary.tiles_passed} passed the screen"),
        ("speed", f"{summary.frames_per_s:.1f} frames/s{pace}"),
        (
            "latency",
            f"p50 {summary.latency_p50_ms:.0f} ms, p99 {summary.latency_p99_ms:.0f} ms, last line to publication",
        ),
    ]
