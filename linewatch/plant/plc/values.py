"""The values that a PLC reads, by name: the view of the service with the newest defects."""

import math
import time
from collections.abc import Callable

from linewatch.client import Lost
from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.defects import NewestDefects, NumberedDefect
from linewatch.plant.plc.codes import (
    ALARM_BITS,
    CLASS_WITHOUT_CODE,
    DEFECTS_SHOWN,
    CoilStateCode,
    DefectStateCode,
    StripQuality,
)
from linewatch.plant.plc.settings import PlcSettings
from linewatch.plant.view import ServiceView, quality_now
from linewatch.wire.schema import AnyMessage, DefectMessage

Value = int | float | str | list[bool] | list[int]

_QUALITIES = {
    None: StripQuality.NOT_LOOKED_AT,
    Quality.INSPECTED: StripQuality.INSPECTED,
    Quality.DEGRADED: StripQuality.DEGRADED,
    Quality.MISSED: StripQuality.MISSED,
}
_COIL_STATES = {
    None: CoilStateCode.NONE,
    CoilState.STARTED: CoilStateCode.RUNNING,
    CoilState.ENDED: CoilStateCode.ENDED,
}


class PlcView(ServiceView):
    """The view of the service with the newest defects, each in a slot."""

    def __init__(self, settings: PlcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._settings = settings
        self._defects = NewestDefects(DEFECTS_SHOWN)

    def take(self, message: AnyMessage | Lost) -> None:
        super().take(message)
        if isinstance(message, DefectMessage):
            self._defects.take(message)

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
            "quality": _QUALITIES[quality_now(status, state)],
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
            "defect_changes": self._defects.changes & 0xFFFF_FFFF,
        }
        for slot, shown in enumerate(self._defects.shown):
            values |= self._defect_values(f"defect_{slot + 1}", shown)
        return values

    def _defect_values(self, slot: str, shown: NumberedDefect) -> dict[str, Value]:
        defect = shown.defect
        return {
            f"{slot}_class": self._settings.class_codes.get(defect.defect_class, CLASS_WITHOUT_CODE),
            f"{slot}_state": _state_code(defect),
            f"{slot}_along_begin": defect.along_mm[0],
            f"{slot}_along_end": defect.along_mm[1],
            f"{slot}_across_begin": defect.across_mm[0],
            f"{slot}_across_end": defect.across_mm[1],
            f"{slot}_area": defect.area_mm2,
            f"{slot}_confidence": defect.confidence,
            f"{slot}_number": shown.number & 0xFFFF_FFFF,
        }


def _state_code(defect: DefectMessage) -> DefectStateCode:
    if defect.state is not DefectState.CLOSED:
        return DefectStateCode.OPEN
    return DefectStateCode.MERGED if defect.merged_into else DefectStateCode.CLOSED
