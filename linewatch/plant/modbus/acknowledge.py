"""Acknowledging by coils: what a PLC writes becomes commands to the service.

A coil means "the alarms of this bit", and between a PLC's read and its write another alarm may have come up under that
bit. So a write acknowledges, by their ids, only alarms that have been in the registers for `steady_s`: a PLC that reads
more often than that has read them, and the number that distinguishes one alarm from the next.
"""

import time
from collections.abc import Callable, Sequence
from threading import RLock

import structlog

from linewatch.plant.commands import CommandAnswer, CommandResult, CommandSender, PlantClient
from linewatch.plant.follower import Follower
from linewatch.plant.modbus.registers import ACKNOWLEDGE_ALL, COILS, AcknowledgeResult, ProcessImage
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.modbus.values import ShownValues
from linewatch.plant.view import BridgeState

_NOT_FOLLOWED = frozenset({BridgeState.SILENT, BridgeState.CATCHING_UP})
_RESULTS = {
    CommandResult.OK: AcknowledgeResult.OK,
    CommandResult.REFUSED: AcknowledgeResult.REFUSED,
    CommandResult.NO_ANSWER: AcknowledgeResult.NO_ANSWER,
}

log = structlog.get_logger()


class Acknowledger:
    """The Modbus server calls `write` and `image`, which never wait."""

    def __init__(
        self,
        settings: ModbusSettings,
        follower: Follower[ShownValues],
        image: Callable[[], ProcessImage],
        ended: Callable[[], object],
    ) -> None:
        """`image` makes the registers without coils. `ended` is called when the commands' thread fails."""
        if settings.acknowledge is None:
            raise ValueError("acknowledging needs [acknowledge]")
        self._steady_s = settings.acknowledge.steady_s
        self._bits = settings.alarm_bits
        self._follower = follower
        self._image = image
        self._sender = CommandSender(settings.acknowledge, settings.service.client_keys, ended)
        self._lock = RLock()  # an answer may come before the call that asks returns
        self._pending = [False] * COILS
        self._results = [AcknowledgeResult.NONE] * COILS
        self._written_s = [float("-inf")] * COILS  # when 1 was written last, unless 0 was written since

    def stop(self) -> None:
        """Stop sending commands; raise what the commands' thread failed with."""
        self._sender.stop()

    def image(self) -> ProcessImage:
        """Return the registers and coils now."""
        with self._lock:
            return self._image().acknowledging(tuple(self._pending), tuple(self._results))

    def write(self, first: int, values: Sequence[bool], peer: str) -> None:
        """Take what the PLC at address `peer` wrote to the coils from `first` on.

        A 1 asks for one acknowledgement. Repeated within `steady_s`, as by a scanner that writes its outputs in each
        cycle, or while the coil still reads 1, it is the same request. A 0 asks for nothing and cancels nothing.
        """
        now_s = time.monotonic()
        with self._lock:
            for coil, value in enumerate(values, first):
                rises = value and now_s - self._written_s[coil] > self._steady_s
                self._written_s[coil] = now_s if value else float("-inf")
                if rises and not self._pending[coil]:
                    self._acknowledge(coil, now_s, f"modbus {peer}")

    def _acknowledge(self, coil: int, now_s: float, by: str) -> None:
        alarms = [
            alarm
            for alarm in self._follower.newest.alarms
            if not alarm.acknowledged and coil in (ACKNOWLEDGE_ALL, self._bits.get(alarm.rule))
        ]
        steady = [alarm.id for alarm in alarms if now_s - alarm.since_s >= self._steady_s]
        if steady:
            self._pending[coil] = True
            self._sender.acknowledge(steady, PlantClient(by), lambda answer: self._finish(coil, steady, by, answer))
        elif alarms:
            self._results[coil] = AcknowledgeResult.TOO_NEW
        elif self._follower.state in _NOT_FOLLOWED:
            self._results[coil] = AcknowledgeResult.NO_ANSWER
        else:
            self._results[coil] = AcknowledgeResult.NOTHING

    def _finish(self, coil: int, alarms: Sequence[str], by: str, answer: CommandAnswer) -> None:
        with self._lock:
            self._results[coil] = _RESULTS[answer.result]
            self._pending[coil] = False
        log.info("acknowledge_finished", coil=coil, alarms=alarms, by=by, result=answer.result.value)
