"""What is known of the service, followed message by message: the values behind the registers."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from linewatch.client import Lost
from linewatch.config.modbus import ALARM_BITS, CLASS_WITHOUT_CODE, ModbusSettings
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.modbus.registers import (
    DEFECTS_SHOWN,
    MAP_VERSION,
    BridgeState,
    CoilStateCode,
    DefectStateCode,
    Image,
    StripQuality,
    Value,
    image_of,
)
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

_QUALITIES = {
    Quality.INSPECTED: StripQuality.INSPECTED,
    Quality.DEGRADED: StripQuality.DEGRADED,
    Quality.MISSED: StripQuality.MISSED,
}
_STATES = {
    ServiceState.STARTING: BridgeState.STARTING,
    ServiceState.RUNNING: BridgeState.RUNNING,
    ServiceState.DRAINING: BridgeState.DRAINING,
    ServiceState.FAILED: BridgeState.FAILED,
}
_MAX_UINT16 = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Coil:
    """The coil's account so far."""

    name: str = ""
    state: CoilStateCode = CoilStateCode.NONE
    along_mm: float = 0.0
    length_mm: dict[Quality, float] = field(default_factory=lambda: dict.fromkeys(Quality, 0.0))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A defect in the registers."""

    number: int
    state: DefectStateCode
    defect: DefectMessage


@dataclass(frozen=True, slots=True)
class StandingAlarm:
    """An alarm in the registers."""

    id: str
    rule: str
    number: int  # since the bridge was started; from 65535 on to 1
    acknowledged: bool
    since_s: float  # in the registers, by the picture's clock


class Picture:
    """Starts empty. Whoever feeds it asks `wants_snapshot` after each message and, if so, gives it one."""

    def __init__(self, settings: ModbusSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._status: StatusMessage | None = None
        self._since: Snapshot | None = None  # everything before it is in the picture
        self._torn = True  # something is missing that only a snapshot can tell
        self._beats = 0
        self._last_beat = (-1, -1)  # epoch and count
        self._coil = _Coil()
        self._alarms: dict[str, StandingAlarm] = {}  # by id, in the order of their numbers
        self._alarms_numbered = 0
        self._defects: deque[_Shown] = deque(maxlen=DEFECTS_SHOWN)  # newest first
        self._tentative: set[str] = set()  # ids of open ones
        self._numbered = 0
        self._changes = 0
        self._lost = 0

    @property
    def wants_snapshot(self) -> bool:
        """Whether alarms and the coil's account are not whole. Only behind a status is a snapshot sure to join on."""
        return self._torn and self._status is not None

    @property
    def state(self) -> BridgeState:
        """What the service was doing when it was last heard."""
        status = self._status
        if status is None:
            return BridgeState.SILENT
        if status.state is ServiceState.FAILED:
            return BridgeState.FAILED
        if not status.healthy:
            return BridgeState.UNHEALTHY
        return BridgeState.CATCHING_UP if self._torn else _STATES[status.state]

    def take(self, message: AnyMessage | Lost) -> None:
        """Follow one message."""
        match message:
            case StatusMessage():
                self._hear(message)
            case DefectMessage():
                self._show(message)
            case Lost():
                self._lost = min(_MAX_UINT16, self._lost + max(1, (message.end or 0) - message.first))
                self._torn |= message.topic is not Topic.DEFECT
            case RollMarkMessage() | CropMessage():
                pass  # have no registers: a roll mark's alarm has a bit
            case _ if self._is_known(message):
                pass
            case FrameMessage():
                self._pass(message)
            case AlarmMessage():
                if message.state is AlarmState.CLEARED:
                    self._alarms.pop(message.id, None)
                else:
                    self._alarms[message.id] = self._standing(message)
            case CoilMessage():
                running = message.state is CoilState.STARTED
                self._coil = _Coil(
                    message.coil,
                    CoilStateCode.RUNNING if running else CoilStateCode.ENDED,
                    message.along_mm,
                    _lengths(message.inspected_mm, message.degraded_mm, message.missed_mm),
                )

    def sync(self, snapshot: Snapshot) -> None:
        """Alarms and coil stand as in `snapshot`; what comes later is followed from there."""
        self._since, self._torn = snapshot, False
        alarms = [self._standing(alarm) for alarm in snapshot.standing_alarms]
        self._alarms = {alarm.id: alarm for alarm in sorted(alarms, key=lambda alarm: alarm.since_s)}
        coil = snapshot.coil
        if coil is not None:
            sums = _lengths(coil.inspected_mm, coil.degraded_mm, coil.missed_mm)
            self._coil = _Coil(coil.coil, CoilStateCode.RUNNING, coil.along_mm, sums)
        elif self._coil.state is CoilStateCode.RUNNING:
            self._coil = replace(self._coil, state=CoilStateCode.ENDED)

    @property
    def alarms(self) -> tuple[StandingAlarm, ...]:
        """Those that stand, with a bit or without, the newest last."""
        return tuple(self._alarms.values())

    def image(self) -> Image:
        """The registers now."""
        bits, unacknowledged, numbers = [False] * ALARM_BITS, [False] * ALARM_BITS, [0] * ALARM_BITS
        without_bit = 0
        for alarm in self._alarms.values():
            bit = self._settings.alarm_bits.get(alarm.rule)
            if bit is None:
                without_bit += 1
                continue
            bits[bit], numbers[bit] = True, alarm.number
            unacknowledged[bit] |= not alarm.acknowledged
        status, coil, state = self._status, self._coil, self.state
        values: dict[str, Value] = {
            "map_version": MAP_VERSION,
            "heartbeat": self._beats,
            "state": state,
            "quality": _QUALITIES[status.quality]
            if status and state is BridgeState.RUNNING
            else StripQuality.NOT_LOOKED_AT,
            "alarms_standing": len(self._alarms),
            "alarms_without_bit": without_bit,
            "messages_lost": self._lost,
            "along": coil.along_mm,
            "defects_opened": status.defects if status else 0,
            "alarm_words": bits,
            "unacknowledged_words": unacknowledged,
            "alarm_numbers": numbers,
            "coil_state": coil.state,
            "coil_inspected": coil.length_mm[Quality.INSPECTED],
            "coil_degraded": coil.length_mm[Quality.DEGRADED],
            "coil_missed": coil.length_mm[Quality.MISSED],
            "coil_id": coil.name,
            "defect_changes": self._changes & 0xFFFF_FFFF,
        }
        for slot, shown in enumerate(self._defects):
            values |= self._defect_values(f"defect_{slot + 1}", shown)
        return image_of(values, bits, self._settings.word_order)

    def _hear(self, status: StatusMessage) -> None:
        self._status = status
        if self._since is None or status.epoch != self._since.epoch:
            self._torn = True
        beat = status.epoch, status.heartbeat
        if beat != self._last_beat and status.healthy and not self._torn:
            self._beats = (self._beats + 1) & _MAX_UINT16
        self._last_beat = beat

    def _is_known(self, message: FrameMessage | AlarmMessage | CoilMessage) -> bool:
        since = self._since
        if since is None:
            return True  # the snapshot that is still to come holds it
        return (message.epoch, message.sequence) < (since.epoch, since.sequences.get(message.topic, 0))

    def _standing(self, alarm: AlarmBody) -> StandingAlarm:
        known = self._alarms.get(alarm.id)
        if known is not None:
            return replace(known, acknowledged=alarm.acked_state)
        self._alarms_numbered = self._alarms_numbered % _MAX_UINT16 + 1
        return StandingAlarm(alarm.id, alarm.rule, self._alarms_numbered, alarm.acked_state, self._clock())

    def _pass(self, frame: FrameMessage) -> None:
        if frame.coil != self._coil.name or self._coil.state is not CoilStateCode.RUNNING:
            self._torn = True  # order holds within a topic only: a coil's turn was overtaken
            return
        length_mm = dict(self._coil.length_mm)
        for span in frame.spans:
            length_mm[span.quality] += span.along_mm[1] - span.along_mm[0]
        self._coil = replace(self._coil, along_mm=frame.along_mm[1], length_mm=length_mm)

    def _show(self, defect: DefectMessage) -> None:
        """A tentative one has no registers until it is called."""
        was_tentative = defect.id in self._tentative
        self._tentative.discard(defect.id)
        if defect.tentative and (was_tentative or defect.state is DefectState.OPENED):
            if defect.state is not DefectState.CLOSED:
                self._tentative.add(defect.id)
            return
        state = DefectStateCode.OPEN
        if defect.state is DefectState.CLOSED:
            state = DefectStateCode.MERGED if defect.merged_into else DefectStateCode.CLOSED
        if defect.state is DefectState.OPENED or was_tentative:
            self._numbered += 1
            self._defects.appendleft(_Shown(self._numbered, state, defect))
            self._changes += 1
            return
        for slot, shown in enumerate(self._defects):
            if shown.defect.id == defect.id and shown.state is DefectStateCode.OPEN:
                self._defects[slot] = _Shown(shown.number, state, defect)
                self._changes += 1
                return

    def _defect_values(self, slot: str, shown: _Shown) -> dict[str, Value]:
        defect = shown.defect
        return {
            f"{slot}_class": self._settings.class_codes.get(defect.defect_class, CLASS_WITHOUT_CODE),
            f"{slot}_state": shown.state,
            f"{slot}_along_begin": defect.along_mm[0],
            f"{slot}_along_end": defect.along_mm[1],
            f"{slot}_across_begin": defect.across_mm[0],
            f"{slot}_across_end": defect.across_mm[1],
            f"{slot}_area": defect.area_mm2,
            f"{slot}_confidence": defect.confidence,
            f"{slot}_number": shown.number & 0xFFFF_FFFF,
        }


def _lengths(inspected_mm: float, degraded_mm: float, missed_mm: float) -> dict[Quality, float]:
    return {Quality.INSPECTED: inspected_mm, Quality.DEGRADED: degraded_mm, Quality.MISSED: missed_mm}
