"""The figures of `linewatch history`, in Prometheus' terms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.core import Metric

from linewatch import __version__
from linewatch.monitoring.families import build, counter, counters, gauge, gauges


class Stored(Protocol):
    """One service whose messages are stored."""

    name: str
    stored: int

    @property
    def heartbeat_age_s(self) -> float: ...


@dataclass(slots=True)
class HistoryFigures:
    """Called by the threads that answer scrapes. written: the database takes records. failures: to write."""

    services: Sequence[Stored]
    written: bool = True
    failures: int = 0

    def failed(self) -> None:
        """Count a failure to write."""
        self.written, self.failures = False, self.failures + 1

    def __call__(self) -> Iterator[Metric]:
        """Yield all families."""
        label, services = ["service"], self.services
        yield build({"linewatch": __version__}, "history")
        yield gauge("history_writes", "1: the database takes records", self.written)
        yield counter("history_write_failures", "how often the database did not take records", self.failures)
        stored = {(one.name,): one.stored for one in services}
        yield counters("history_stored_messages", "messages that were stored", label, stored)
        ages = {(one.name,): one.heartbeat_age_s for one in services}
        yield gauges("followed_heartbeat_age_seconds", "since a service was last heard; +Inf: not yet", label, ages)
