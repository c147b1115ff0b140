"""The figures of a process of stages, in Prometheus' terms."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from prometheus_client.core import Metric

from linewatch.contracts.alarm import ShelvingState
from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.manifest import Task
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.status_parts import software
from linewatch.daemon.totals import Totals
from linewatch.monitoring.families import build, counter, counters, gauges, histograms, of_status
from linewatch.monitoring.traces import FrameTraces
from linewatch.wire.schema import AlarmBody, StatusBody
from linewatch.wire.snapshot import SnapshotTracker

K = TypeVar("K")
V = TypeVar("V")
_M2: Final = 1e-6
"""Square metres a square millimetre."""


class ToldStatus(Protocol):
    """What makes status messages, and keeps the newest."""

    @property
    def newest(self) -> StatusBody | None: ...


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """Called by the threads that answer scrapes. Reads what other threads write: figures may differ by a frame."""

    process: str
    status: ToldStatus
    totals: Totals
    standing: SnapshotTracker
    frame_times: FrameTimes
    sync_times: DurationHistogram
    batch_times: Mapping[tuple[Task, str], DurationHistogram] = field(default_factory=dict)
    traces: FrameTraces | None = None

    def __call__(self) -> Iterator[Metric]:
        """Yield all families."""
        yield build(software(), self.process)
        if self.traces is not None:
            yield from self.traces.figures()
        if (status := self.status.newest) is not None:
            yield from of_status(status)
        yield from self._of_strip()
        yield from self._of_defects()
        yield gauges("alarms", "alarms that are retained", ["priority", "state"], self._alarms())
        steps = {(name,): histogram for name, histogram in self.frame_times.steps.items()}
        yield histograms("frame_step_seconds", "what a frame took in a step, and as a whole", ["step"], steps)
        yield histograms("journal_sync_seconds", "what the journal's disk took to sync", [], {(): self.sync_times})
        batches = {
            (task.value, *_engine_and_backend(identity)): one for (task, identity), one in _now(self.batch_times)
        }
        yield histograms("engine_batch_seconds", "what a batch took", ["task", "engine", "backend"], batches)

    def _of_strip(self) -> Iterator[Metric]:
        totals, decided = self.totals, self.totals.as_decided
        yield counter("frames", "frames that were decided", totals.frames)
        yield counter("tiles", "tiles that touched the strip", totals.tiles)
        yield counter("tiles_passed", "tiles that the screen passed on", totals.tiles_passed)
        yield counters(
            "lines",
            "lines of strip by quality and, where they were not inspected, cause; as they were first decided",
            ["quality", "cause"],
            {(quality.value, cause): lines for (quality, cause), lines in _now(decided.lines)},
        )
        yield counters(
            "strip_square_metres",
            "area of strip by quality, as it was first decided",
            ["quality"],
            {(quality.value,): mm2 * _M2 for quality, mm2 in _now(decided.mm2)},
        )
        yield counters(
            "uninspected_square_metres",
            "degraded and missed area by cause, as it was first decided",
            ["cause"],
            {(cause,): mm2 * _M2 for cause, mm2 in _now(decided.uninspected_mm2)},
        )

    def _of_defects(self) -> Iterator[Metric]:
        tentative = dict(_now(self.totals.tentative))
        closed = dict(_now(self.totals.defects))
        by_class = {(name, "called"): number - tentative.get(name, 0) for name, number in closed.items()}
        by_class |= {(name, "tentative"): number for name, number in tentative.items()}
        yield counters("defects", "defects that have ended, by class", ["class", "certainty"], by_class)
        yield counter("roll_marks", "roll marks that were recognised", self.totals.roll_marks)
        yield counter("alarms_raised", "alarms that were raised", self.totals.alarms_raised)

    def _alarms(self) -> Counter[tuple[str, str]]:
        return Counter((alarm.priority.value, _state(alarm)) for alarm in self.standing.retained_alarms)


def _now(counts: Mapping[K, V]) -> list[tuple[K, V]]:
    """Return the items of a mapping to which another thread may be adding."""
    return list(dict(counts).items())


def _state(alarm: AlarmBody) -> str:
    if alarm.shelving_state is not ShelvingState.UNSHELVED:
        return "shelved"
    if alarm.suppressed_state:
        return "suppressed"
    return "acknowledged" if alarm.acked_state else "unacknowledged"


def _engine_and_backend(identity: str) -> tuple[str, str]:
    """Return an engine's name with its hash, so that two of one name are told apart, and its backend."""
    engine, _, rest = identity.partition("/")
    return engine, rest.partition("/")[0]
