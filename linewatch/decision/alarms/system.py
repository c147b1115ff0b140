"""Built-in alarm rules about the inspection itself, driven by verdicts or by the state of the host."""

from collections.abc import Sequence
from dataclasses import dataclass

from linewatch.config.decision import AlarmSettings, SystemAlarmSettings
from linewatch.contracts.alarm import HostState, Priority
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoverageSpan, Quality, Verdict
from linewatch.decision.alarms.picture import PICTURE_ALARMS

CAMERA_AWAY, CAMERA_SILENT = "camera-away", "camera-silent"
DISK_LOW, FAILED_OVER = "disk-low", "engine-failed-over"
RECIPE_LACKING, ENGINE_WITHDRAWN = "recipe-engine-lacking", "engine-withdrawn"
JOURNAL_LOST = "journal-lost"
CAMERA_OUT = "camera-out"
RESTART_GAP = "restart-gap"
CLOCK_STEPPED = "clock-stepped"
CAMERA_LOST, COVERAGE_LOW, ENGINE_FAILING = "camera-lost", "coverage-low", "engine-failing"
FLOOD = "flood"
NAMES = (
    CAMERA_AWAY,
    CAMERA_SILENT,
    CAMERA_LOST,
    COVERAGE_LOW,
    ENGINE_FAILING,
    FAILED_OVER,
    RECIPE_LACKING,
    ENGINE_WITHDRAWN,
    RESTART_GAP,
    CLOCK_STEPPED,
    DISK_LOW,
    JOURNAL_LOST,
    *PICTURE_ALARMS,
    CAMERA_OUT,
    FLOOD,
)

_OTHERS = (Cause.OVERRUN, Cause.OVERLOAD, Cause.ENGINE, Cause.CALIBRATION, Cause.RESTART, Cause.CAMERA)
"""Causes that are not of the picture; but for the calibration, alarms of their own tell these."""
_DISK_DEADBAND = 1.1
_ALARMING_STEP_S = 60.0  # what a clock that is kept right is never set by
_STEPS = 100  # parts of the metres over which coverage counts
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class SystemRule:
    """A built-in rule.

    on_strip: verdicts drive it and the coil's end clears it; otherwise the host, or the picture, drives it.
    """

    name: str
    priority: Priority
    on_strip: bool
    on_delay_m: float = 0.0
    off_delay_m: float = 0.0
    latch: bool = False
    group: str | None = None


def system_rules(settings: SystemAlarmSettings | None, alarms: AlarmSettings) -> tuple[SystemRule, ...]:
    """Return the built-in rules that the settings do not switch off."""
    rules: list[SystemRule] = []
    if settings is not None:
        rules.append(SystemRule(CAMERA_AWAY, Priority.HIGH, on_strip=False))
        if settings.camera_silent_s is not None:
            rules.append(SystemRule(CAMERA_SILENT, Priority.HIGH, on_strip=False))
        if settings.camera_lost_m is not None:
            rules.append(SystemRule(CAMERA_LOST, Priority.HIGH, on_strip=True, on_delay_m=settings.camera_lost_m))
        if settings.coverage_below is not None:
            rules.append(SystemRule(COVERAGE_LOW, Priority.MEDIUM, on_strip=True))
        rules.append(SystemRule(ENGINE_FAILING, Priority.HIGH, on_strip=True, off_delay_m=settings.engine_off_delay_m))
        rules.append(SystemRule(FAILED_OVER, Priority.MEDIUM, on_strip=False))
        rules.append(SystemRule(RECIPE_LACKING, Priority.MEDIUM, on_strip=False))
        rules.append(SystemRule(ENGINE_WITHDRAWN, Priority.MEDIUM, on_strip=False))
        rules.append(SystemRule(RESTART_GAP, Priority.HIGH, on_strip=False, latch=True))
        rules.append(SystemRule(CLOCK_STEPPED, Priority.MEDIUM, on_strip=False, latch=True))
        if settings.disk_free_below_mb is not None:
            rules.append(SystemRule(DISK_LOW, Priority.HIGH, on_strip=False))
        rules.append(SystemRule(JOURNAL_LOST, Priority.HIGH, on_strip=False))
        delay_m = settings.picture_delay_m
        rules += [
            SystemRule(name, priority, on_strip=False, on_delay_m=delay_m, off_delay_m=delay_m)
            for name, (priority, _) in PICTURE_ALARMS.items()
        ]
        rules.append(SystemRule(CAMERA_OUT, Priority.HIGH, on_strip=False))
        rules = [rule for rule in rules if rule.name not in settings.off]
    if alarms.flood_count is not None:
        rules.append(SystemRule(FLOOD, Priority.HIGH, on_strip=True))
    return tuple(rules)


@dataclass(frozen=True, slots=True)
class Uninspected:
    """What of the last metres was not inspected.

    stretches: (begin along, end along, share of its area that was not inspected), in order. Neighbours are joined up to
    a hundredth of the metres that count. begin_mm: where the strip began that counts; None: none has passed.
    """

    stretches: tuple[tuple[float, float, float], ...] = ()
    begin_mm: float | None = None

    def plus(self, along_mm: tuple[float, float], spans: Sequence[CoverageSpan], within_mm: float) -> "Uninspected":
        """Return the stretches after this frame, without those further back than `within_mm`."""
        begin_mm, end_mm = along_mm
        first_mm = begin_mm if self.begin_mm is None else self.begin_mm
        share = 0.0
        if end_mm > begin_mm:
            share = sum(span.length_mm * (1.0 - span.inspected_share) for span in spans) / (end_mm - begin_mm)
        if share <= 0.0 and not self.stretches:
            return self if self.begin_mm is not None else Uninspected((), first_mm)
        from_mm = end_mm - within_mm
        kept = [stretch for stretch in self.stretches if stretch[1] > from_mm]
        if share > 0.0:
            before_mm, to_mm, before = kept[-1] if kept else (begin_mm, begin_mm, 0.0)
            if kept and to_mm == begin_mm and end_mm - before_mm <= within_mm / _STEPS:
                lost_mm = before * (to_mm - before_mm) + share * (end_mm - begin_mm)
                kept[-1] = (before_mm, end_mm, lost_mm / (end_mm - before_mm))
            else:
                kept.append((begin_mm, end_mm, share))
        return Uninspected(tuple(kept), first_mm)

    def put_right(self, spans: Sequence[CoverageSpan], were: Sequence[CoverageSpan]) -> "Uninspected":
        """Return the stretches with spans in the place of what `were` told of the same strip."""
        if not spans or not self.stretches:
            return self
        signed = [(1.0, span) for span in spans] + [(-1.0, span) for span in were]
        kept: list[tuple[float, float, float]] = []
        for begin_mm, end_mm, share in self.stretches:
            lost_mm = share * (end_mm - begin_mm)
            for sign, span in signed:
                within_mm = min(end_mm, span.along_mm[1]) - max(begin_mm, span.along_mm[0])
                lost_mm += sign * max(0.0, within_mm) * (1.0 - span.inspected_share)
            left = min(1.0, lost_mm / (end_mm - begin_mm))
            if left > _NOTHING:
                kept.append((begin_mm, end_mm, left))
        return Uninspected(tuple(kept), self.begin_mm)

    def coverage(self, end_mm: float, within_mm: float) -> float:
        """Return the inspected share of the last `within_mm`. Strip before the coil's head counts as inspected."""
        lost_mm = sum((end - max(begin, end_mm - within_mm)) * share for begin, end, share in self.stretches)
        return 1.0 - lost_mm / within_mm


def strip_text(
    name: str, verdict: Verdict, uninspected: Uninspected, settings: SystemAlarmSettings, *, active: bool
) -> str | None:
    """Return why a built-in rule about the strip is true in this verdict; None if it is false."""
    spans = verdict.spans
    if name == CAMERA_LOST:
        lost = spans and all(span.quality is Quality.MISSED and span.cause not in _OTHERS for span in spans)
        return f"no usable picture: {spans[0].cause}" if lost else None
    if name == ENGINE_FAILING:
        failing = any(span.cause is Cause.ENGINE for span in spans)
        return "an engine fails: strip is not fully inspected" if failing else None
    limit = (settings.coverage_below or 0.0) + (settings.coverage_deadband if active else 0.0)
    coverage = uninspected.coverage(verdict.along_mm[1], settings.coverage_within_m * 1000)
    return f"{coverage:.1%} of the last {settings.coverage_within_m:g} m inspected" if coverage < limit else None


def end_text(uninspected: Uninspected, end_mm: float, settings: SystemAlarmSettings) -> str | None:
    """Return why `coverage-low` is true of a coil that ends, however short it was; None if it is false."""
    if uninspected.begin_mm is None or settings.coverage_below is None or end_mm <= uninspected.begin_mm:
        return None
    within_mm = min(settings.coverage_within_m * 1000, end_mm - uninspected.begin_mm)
    coverage = uninspected.coverage(end_mm, within_mm)
    if coverage >= settings.coverage_below:
        return None
    return f"{coverage:.1%} of the last {within_mm / 1000:.1f} m of the coil inspected"


def host_text(name: str, host: HostState, settings: SystemAlarmSettings, *, active: bool) -> tuple[bool, str] | None:
    """Return whether a built-in rule about the host is true, and its text; None if the host does not know."""
    if name == CAMERA_SILENT and host.camera_silent_s is not None and settings.camera_silent_s is not None:
        return host.camera_silent_s >= settings.camera_silent_s, f"no grab for {host.camera_silent_s:.0f} s"
    if name == CLOCK_STEPPED:
        step_s = host.clock_step_ns / 1e9
        return abs(step_s) >= _ALARMING_STEP_S, f"the clock was set {_step_text(step_s)}; check what keeps it right"
    told = {
        CAMERA_AWAY: host.camera_away,
        FAILED_OVER: host.backend_lost,
        RECIPE_LACKING: host.recipe_lacking,
        ENGINE_WITHDRAWN: host.engine_withdrawn,
        JOURNAL_LOST: host.journal_lost,
        CAMERA_OUT: host.cameras_out,
        RESTART_GAP: host.restart_gap,
    }
    if (why := told.get(name)) is not None:
        return bool(why), why
    if name == DISK_LOW and host.disk_free_mb is not None and settings.disk_free_below_mb is not None:
        limit_mb = settings.disk_free_below_mb * (_DISK_DEADBAND if active else 1.0)
        return host.disk_free_mb < limit_mb, f"{host.disk_free_mb:.0f} MB free on {host.disk}"
    return None


def _step_text(step_s: float) -> str:
    size_s, way = abs(step_s), "forward" if step_s > 0 else "back"
    if size_s < 7_200:
        return f"{way} by {size_s:.0f} s"
    return f"{way} by {size_s / 3600:.1f} h" if size_s < 172_800 else f"{way} by {size_s / 86_400:.1f} days"
