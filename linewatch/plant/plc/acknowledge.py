"""Acknowledging by bits: what a PLC asks for becomes commands to the service.

A bit means "the alarms of this bit", and between a PLC's read and its request another alarm may have come up under that
bit. So a request acknowledges, by their ids, only alarms that have been shown for `steady_s`: a PLC that reads more
often than that has read them, and the number that distinguishes one alarm from the next.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import RLock

import structlog

from linewatch.plant.commands import CommandAnswer, CommandResult, CommandSender, PlantClient
from linewatch.plant.plc.codes import ACKNOWLEDGE_ALL, ACKNOWLEDGE_BITS, AcknowledgeResult
from linewatch.plant.view import BridgeState, StandingAlarm

_NOT_FOLLOWED = frozenset({BridgeState.SILENT, BridgeState.CATCHING_UP})
_RESULTS = {
    CommandResult.OK: AcknowledgeResult.OK,
    CommandResult.REFUSED: AcknowledgeResult.REFUSED,
    CommandResult.NO_ANSWER: AcknowledgeResult.NO_ANSWER,
}

log = structlog.get_logger()


class BitAcknowledger:
    """May be used by any thread; no call waits."""

    def __init__(
        self,
        bits: Mapping[str, int],
        steady_s: float,
        alarms: Callable[[], Sequence[StandingAlarm]],
        state: Callable[[], BridgeState],
        sender: CommandSender,
    ) -> None:
        """bits: by alarm rule. alarms, state: as the PLC is shown them now."""
        self._bits, self._steady_s = bits, steady_s
        self._alarms, self._state, self._sender = alarms, state, sender
        self._lock = RLock()  # an answer may come before the call that asks returns
        self._pending = [False] * ACKNOWLEDGE_BITS
        self._results = [AcknowledgeResult.NONE] * ACKNOWLEDGE_BITS

    @property
    def now(self) -> tuple[tuple[bool, ...], tuple[AcknowledgeResult, ...]]:
        """Which bits wait for the service's answer, and the result of the newest request of each."""
        with self._lock:
            return tuple(self._pending), tuple(self._results)

    def ask(self, bit: int, client: PlantClient) -> None:
        """Acknowledge the alarms of a bit, unless an earlier request for it waits."""
        with self._lock:
            if self._pending[bit]:
                return
            now_s = time.monotonic()
            alarms = [
                alarm
                for alarm in self._alarms()
                if not alarm.acknowledged and bit in (ACKNOWLEDGE_ALL, self._bits.get(alarm.rule))
            ]
            steady = [alarm.id for alarm in alarms if now_s - alarm.since_s >= self._steady_s]
            if steady:
                self._pending[bit] = True
                self._sender.acknowledge(steady, client, lambda answer: self._finish(bit, steady, client, answer))
            elif alarms:
                self._results[bit] = AcknowledgeResult.TOO_NEW
            elif self._state() in _NOT_FOLLOWED:
                self._results[bit] = AcknowledgeResult.NO_ANSWER
            else:
                self._results[bit] = AcknowledgeResult.NOTHING

    def _finish(self, bit: int, alarms: Sequence[str], client: PlantClient, answer: CommandAnswer) -> None:
        with self._lock:
            self._results[bit] = _RESULTS[answer.result]
            self._pending[bit] = False
        # `coil` is the former name of `bit`, for those who read it: over S7 there are no coils but those of strip.
        log.info("acknowledge_finished", bit=bit, coil=bit, alarms=alarms, by=client.name, result=answer.result.value)
