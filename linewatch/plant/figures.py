"""The figures of a bridge's process, in Prometheus' terms."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric

from linewatch import __version__
from linewatch.monitoring.families import build, counter, gauge, gauges
from linewatch.plant.follower import Follower
from linewatch.plant.health import LinkHealth
from linewatch.plant.view import BridgeState


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """Called by the threads that answer scrapes. health: must not wait."""

    protocol: str
    name: str | None
    follower: Follower[Any]
    health: Callable[[], LinkHealth]

    def __call__(self) -> Iterator[Metric]:
        """Yield all families."""
        health, state = self.health(), self.follower.state
        yield build({"linewatch": __version__}, self.name or self.protocol)
        yield gauge("link_serving", "1: the plant's side is served", not health.trouble)
        yield gauge("link_peers", "controllers, clients, brokers or browsers that are connected", health.peers)
        yield gauge("link_waiting_messages", "messages that are kept until the plant takes them", health.waiting)
        yield counter("link_dropped_messages", "messages that the plant never gets", health.dropped)
        states = {(one.name.lower(),): one is state for one in BridgeState}
        yield gauges("followed_service_state", "1: the followed service is in this state", ["state"], states)
        age_s = time.monotonic() - self.follower.ticked_s
        yield gauge("follower_tick_age_seconds", "since the thread that follows the service last ran", age_s)
