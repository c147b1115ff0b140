"""The values that a PLC reads, by name: the view of the service with the newest defects."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from linewatch.client import Lost
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.plc.codes import (
    ALARM_BITS,
    CLASS_WITHOUT_CODE,
    DEFECTS_SHOWN,
    CoilStateCode,
    DefectStateCode,
    StripQuality,
)
from linewatch.plant.plc.settings import PlcSettings
from linewatch.plant.view import BridgeState, ServiceView
from linewatch.wire.schema import AnyMessage, DefectMessage

Value = int | float | str | list[bool] | list[int]

_QUALITIES = {
    Quality.INSPECTED: StripQuality.INSPECTED,
    Quality.DEGRADED: StripQuality.DEGRADED,
    Quality.MISSED: StripQuality.MISSED,
}
_COIL_STATES = {
    None: CoilStateCode.NONE,
    CoilState.STARTED: CoilStateCode.RUNNING,
    CoilState.ENDED: CoilStateCode.ENDED,
}


@dataclass(frozen=True, slots=True)
class _DefectSlot:
    """A defect that a PLC reads."""

    number: int
    state: DefectStateCode
    defect: DefectMessage


class PlcView(ServiceView):
    """The view of the service with the newest defects, each in a slot.

    A tentative defect gets a slot once it is no longer tentative.
    """

    def __init__(self, settings: PlcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._settings = settings
        self._slots: deque[_DefectSlot] = deque(maxlen=DEFECTS_SHOWN)  # newest first
        self._tentative: set[str] = set()  # ids of open defects
        self._defects_numbered = 0
        self._defect_changes = 0

    def take(self, message: AnyMessage | Lost) -> None:
        super().take(message)
        if isinstance(message, DefectMessage):
            self._take_defect(message)

    def values(self) -> dict[str, Value]:
        """Return every value now, by its name. Text, positions and areas are as the wire has them, in millimetres."""
        bits, unacknowledged, numbers = [False] * ALARM_BITS, [False] * ALARM_BITS, [0] * ALARM_BITS
        without_bit = 0
        for alarm in self.alarms:
            bit = self._settings.alarm_bits.get(alarm.rule)
            if bit is None:
                without_bit += 1
                continue
            bits[bit], numbers[bit] = True, alarm.number
            unacknowledged[bit] |= not alarm.acknowledged
        status, coil, state = self.status, self.coil, self.state
        values: dict[str, Value] = {
            "heartbeat": self.heartbeat,
            "state": state,
            "quality": _QUALITIES[status.quality]
            if status and state is BridgeState.RUNNING
            else StripQuality.NOT_LOOKED_AT,
            "alarms_standing": len(self.alarms),
            "alarms_without_bit": without_bit,
            "messages_lost": self.messages_lost,
            "along": coil.along_mm,
            "defects_opened": status.defects if status else 0,
            "alarm_words": bits,
            "unacknowledged_words": unacknowledged,
            "alarm_numbers": numbers,
            "coil_state": _COIL_STATES[coil.state],
            "coil_coverage": math.floor(coil.coverage * 10_000) / 10_000,
            "coil_inspected": coil.length_mm[Quality.INSPECTED],
            "coil_degraded": coil.length_mm[Quality.DEGRADED],
            "coil_missed": coil.length_mm[Quality.MISSED],
            "coil_id": coil.id,
            "defect_changes": self._defect_changes & 0xFFFF_FFFF,
        }
        for slot, shown in enumerate(self._slots):
            values |= self._defect_values(f"defect_{slot + 1}", shown)
        return values

    def _take_defect(self, defect: DefectMessage) -> None:
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
            self._defects_numbered += 1
            self._slots.appendleft(_DefectSlot(self._defects_numbered, state, defect))
            self._defect_changes += 1
            return
        for slot, shown in enumerate(self._slots):
            if shown.defect.id == defect.id and shown.state is DefectStateCode.OPEN:
                self._slots[slot] = _DefectSlot(shown.number, state, defect)
                self._defect_changes += 1
                return

    def _defect_values(self, slot: str, shown: _DefectSlot) -> dict[str, Value]:
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
