"""A view of the service, kept by following its messages: its state, the coil, the standing alarms."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum

from linewatch.client import Lost
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, Quality, StripArea
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    CropMessage,
    DefectMessage,
    FrameMessage,
    RollMarkMessage,
    ServiceState,
    Snapshot,
    StatusMessage,
    Topic,
)

MAX_UINT16 = 0xFFFF


class BridgeState(IntEnum):
    """The service's state as a bridge shows it, with the codes that a PLC reads.

    Only in state 2 is passing strip inspected. The heartbeat counts in states 1 to 3 only.
    """

    SILENT = 0  # no status message from the service
    STARTING = 1
    RUNNING = 2
    DRAINING = 3
    FAILED = 4
    UNHEALTHY = 5  # a stage does not tick
    CATCHING_UP = 6  # status messages arrive, but alarms and the coil's totals are not complete yet


_STATES = {
    ServiceState.STARTING: BridgeState.STARTING,
    ServiceState.RUNNING: BridgeState.RUNNING,
    ServiceState.DRAINING: BridgeState.DRAINING,
    ServiceState.FAILED: BridgeState.FAILED,
}


def quality_now(status: StatusMessage | None, state: BridgeState) -> Quality | None:
    """Return how the passing strip is inspected; None: nobody looks at it, or it is not known."""
    return status.quality if status is not None and state is BridgeState.RUNNING else None


@dataclass(frozen=True, slots=True)
class CoilView:
    """The newest coil. state: None before the first. along_mm: end of the last decided frame.

    length_mm: how much of it was inspected, degraded and missed so far. area: the same of its area.
    """

    id: str = ""
    state: CoilState | None = None
    along_mm: float = 0.0
    length_mm: dict[Quality, float] = field(default_factory=lambda: dict.fromkeys(Quality, 0.0))
    area: StripArea = field(default_factory=StripArea)

    @property
    def coverage(self) -> float:
        """Inspected share of the area that passed so far; 0 when none did, or a service does not tell areas."""
        return self.area.inspected_mm2 / self.area.passed_mm2 if self.area.passed_mm2 else 0.0


@dataclass(frozen=True, slots=True)
class StandingAlarm:
    """An alarm that asks for an operator."""

    id: str
    rule: str
    number: int  # counts alarms since the bridge started; after 65535 comes 1
    acknowledged: bool
    since_s: float  # when it came into the view, by the view's clock


class ServiceView:
    """Starts empty. After each message, its owner asks `wants_snapshot` and, if true, calls `sync` with a snapshot.

    Not thread-safe. A bridge that needs more than this overrides `take` and calls this one first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._snapshot: Snapshot | None = None  # messages before it are already in the view
        self._incomplete = True  # something is missing that only a snapshot can supply
        self._last_heartbeat = (-1, -1)  # epoch and count
        self._alarms: dict[str, StandingAlarm] = {}  # by id, in the order of their numbers
        self._alarms_numbered = 0
        self.status: StatusMessage | None = None
        self.coil = CoilView()
        self.heartbeat = 0
        """Counts the service's heartbeats while it is healthy and the view complete; after 65535 comes 0."""
        self.messages_lost = 0
        """Messages that the journal could not replay; stops at 65535."""

    @property
    def wants_snapshot(self) -> bool:
        """Whether alarms or the coil are incomplete. Only after a status message is a snapshot sure to fit on."""
        return self._incomplete and self.status is not None

    @property
    def state(self) -> BridgeState:
        """The service's state by its newest status message."""
        status = self.status
        if status is None:
            return BridgeState.SILENT
        if status.state is ServiceState.FAILED:
            return BridgeState.FAILED
        if not status.healthy:
            return BridgeState.UNHEALTHY
        return BridgeState.CATCHING_UP if self._incomplete else _STATES[status.state]

    @property
    def alarms(self) -> tuple[StandingAlarm, ...]:
        """The alarms that stand, newest last."""
        return tuple(self._alarms.values())

    def take(self, message: AnyMessage | Lost) -> None:
        """Follow one message."""
        match message:
            case StatusMessage():
                self._take_status(message)
            case Lost():
                self.messages_lost = min(MAX_UINT16, self.messages_lost + max(1, (message.end or 0) - message.first))
                self._incomplete |= message.topic is not Topic.DEFECT
            case DefectMessage() | RollMarkMessage() | CropMessage():
                pass
            case _ if self._is_known(message):
                pass
            case FrameMessage():
                self._take_frame(message)
            case AlarmMessage():
                if message.state is AlarmState.CLEARED:
                    self._alarms.pop(message.id, None)
                else:
                    self._alarms[message.id] = self._standing(message)
            case CoilMessage():
                lengths_mm = _lengths(message.inspected_mm, message.degraded_mm, message.missed_mm)
                self.coil = CoilView(
                    message.coil, message.state, message.along_mm, lengths_mm, message.area or StripArea()
                )

    def sync(self, snapshot: Snapshot) -> None:
        """Take alarms and coil from `snapshot`; later messages continue from there."""
        self._snapshot, self._incomplete = snapshot, False
        alarms = [self._standing(alarm) for alarm in snapshot.standing_alarms]
        self._alarms = {alarm.id: alarm for alarm in sorted(alarms, key=lambda alarm: alarm.since_s)}
        coil = snapshot.coil
        if coil is not None:
            lengths_mm = _lengths(coil.inspected_mm, coil.degraded_mm, coil.missed_mm)
            self.coil = CoilView(coil.coil, CoilState.STARTED, coil.along_mm, lengths_mm, coil.area or StripArea())
        elif self.coil.state is CoilState.STARTED:
            self.coil = replace(self.coil, state=CoilState.ENDED)

    def _take_status(self, status: StatusMessage) -> None:
        self.status = status
        if self._snapshot is None or status.epoch != self._snapshot.epoch:
            self._incomplete = True
        heartbeat = status.epoch, status.heartbeat
        if heartbeat != self._last_heartbeat and status.healthy and not self._incomplete:
            self.heartbeat = (self.heartbeat + 1) & MAX_UINT16
        self._last_heartbeat = heartbeat

    def _is_known(self, message: FrameMessage | AlarmMessage | CoilMessage) -> bool:
        snapshot = self._snapshot
        if snapshot is None:
            return True  # the first snapshot, still to come, will contain it
        return (message.epoch, message.sequence) < (snapshot.epoch, snapshot.sequences.get(message.topic, 0))

    def _standing(self, alarm: AlarmBody) -> StandingAlarm:
        known = self._alarms.get(alarm.id)
        if known is not None:
            return replace(known, acknowledged=alarm.acked_state)
        self._alarms_numbered = self._alarms_numbered % MAX_UINT16 + 1
        return StandingAlarm(alarm.id, alarm.rule, self._alarms_numbered, alarm.acked_state, self._clock())

    def _take_frame(self, frame: FrameMessage) -> None:
        if frame.coil != self.coil.id or self.coil.state is not CoilState.STARTED:
            self._incomplete = True  # order holds within a topic only: the frame overtook its coil's start
            return
        length_mm, area = dict(self.coil.length_mm), self.coil.area
        for sign, span in frame.signed_spans:
            length_mm[span.quality] += sign * (span.along_mm[1] - span.along_mm[0])
            area = area.plus(span.area or StripArea(), sign)
        self.coil = replace(self.coil, along_mm=frame.along_mm[1], length_mm=length_mm, area=area)


def _lengths(inspected_mm: float, degraded_mm: float, missed_mm: float) -> dict[Quality, float]:
    return {Quality.INSPECTED: inspected_mm, Quality.DEGRADED: degraded_mm, Quality.MISSED: missed_mm}
