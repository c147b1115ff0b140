"""Acknowledging by coils: what a PLC writes becomes commands to the service, from a thread of its own.

A coil says "the alarms of this bit", and between a PLC's read and its write another alarm may have come up under it. So
a write acknowledges, by their ids, only alarms that have been in the registers for `steady_s`: a PLC that reads more
often than that has read them, and the number that tells one from the next.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from typing import Protocol

import structlog

from linewatch.client import ClientKeys, Commander
from linewatch.client.questions import NoAnswerError, RefusedError
from linewatch.config.modbus import ModbusSettings
from linewatch.contracts.errors import WireError
from linewatch.plant.modbus.picture import StandingAlarm
from linewatch.plant.modbus.registers import ACKNOWLEDGE_ALL, COILS, AcknowledgeResult, BridgeState, Image

ANSWER_TIMEOUT_S = 1.0  # of one question; then it is asked again, with the same token
_WORST_FIRST = (AcknowledgeResult.NO_ANSWER, AcknowledgeResult.REFUSED, AcknowledgeResult.OK)
_IN_THE_DARK = frozenset({BridgeState.SILENT, BridgeState.CATCHING_UP})

log = structlog.get_logger()


class Shown(Protocol):
    """What is in the registers now."""

    def image(self) -> Image: ...
    @property
    def state(self) -> BridgeState: ...
    @property
    def alarms(self) -> tuple[StandingAlarm, ...]: ...


class Acknowledger:
    """`write` and `image` are the Modbus server's and never wait; the commands are sent by one thread, one by one."""

    def __init__(
        self, settings: ModbusSettings, keys: ClientKeys | None, shown: Shown, ended: Callable[[], object]
    ) -> None:
        """keys: an operator's. `ended` is called when the thread fails; `stop` then says why."""
        if settings.acknowledge is None:
            raise ValueError("acknowledging needs [acknowledge]")
        self._settings = settings.acknowledge
        self._keys = keys
        self._bits = settings.alarm_bits
        self._shown = shown
        self._ended = ended
        self._stop = Event()
        self._lock = Lock()
        self._waits = [False] * COILS  # to be carried out
        self._results = [AcknowledgeResult.NONE] * COILS
        self._written_s = [float("-inf")] * COILS  # when 1 was written last, unless 0 was since
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="acknowledger")
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Returns when the thread has ended; raises what it failed with. What was not sent is dropped."""
        self._stop.set()
        self._worker.shutdown(cancel_futures=True)
        if self._failure is not None:
            raise self._failure

    def image(self) -> Image:
        """The registers and coils now."""
        with self._lock:
            return self._shown.image().acknowledging(tuple(self._waits), tuple(self._results))

    def write(self, first: int, values: Sequence[bool], peer: str) -> None:
        """A PLC at the address `peer` wrote to coils from `first` on. 1 asks for an acknowledgement, once: repeated
        within `steady_s`, as a scanner does that writes its outputs in each cycle, it is still the same; so it is
        while the coil reads 1. 0 asks for nothing and takes nothing back.
        """
        now_s = time.monotonic()
        with self._lock:
            for coil, value in enumerate(values, first):
                rises = value and now_s - self._written_s[coil] > self._settings.steady_s
                self._written_s[coil] = now_s if value else float("-inf")
                if rises and not self._waits[coil]:
                    self._ask(coil, now_s, f"modbus {peer}")

    def _ask(self, coil: int, now_s: float, by: str) -> None:
        alarms = [
            alarm
            for alarm in self._shown.alarms
            if not alarm.acknowledged and coil in (ACKNOWLEDGE_ALL, self._bits.get(alarm.rule))
        ]
        steady = [alarm.id for alarm in alarms if now_s - alarm.since_s >= self._settings.steady_s]
        if steady:
            self._waits[coil] = True
            self._worker.submit(self._carry_out, coil, steady, by, now_s).add_done_callback(self._done)
        elif alarms:
            self._results[coil] = AcknowledgeResult.TOO_NEW
        elif self._shown.state in _IN_THE_DARK:
            self._results[coil] = AcknowledgeResult.NO_ANSWER
        else:
            self._results[coil] = AcknowledgeResult.NOTHING

    def _carry_out(self, coil: int, alarms: list[str], by: str, heard_s: float) -> None:
        results = set()
        with Commander(self._settings.commands, ANSWER_TIMEOUT_S, keys=self._keys) as commander:
            for alarm in alarms:
                results.add(self._acknowledge(commander, alarm, by, heard_s + self._settings.give_up_s))
                if AcknowledgeResult.NO_ANSWER in results:
                    break
                heard_s = time.monotonic()
        result = next(result for result in _WORST_FIRST if result in results)
        with self._lock:
            self._results[coil] = result
            self._waits[coil] = False
        log.info("acknowledge", coil=coil, alarms=alarms, by=by, result=result.name.lower())

    def _acknowledge(self, commander: Commander, alarm: str, by: str, give_up_s: float) -> AcknowledgeResult:
        """Asked once, and again until `give_up_s`."""
        token = secrets.token_hex(16)  # the service carries it out once, however often it is asked and restarted
        while not self._stop.is_set():
            try:
                commander.acknowledge(alarm, token=token, by=by)
            except RefusedError as error:
                log.warning("not_acknowledged", alarm=alarm, by=by, why=str(error))
                return AcknowledgeResult.REFUSED
            except NoAnswerError:
                if time.monotonic() < give_up_s:
                    continue
                break
            except WireError as error:
                log.warning("no_such_command", alarm=alarm, by=by, why=str(error))
                return AcknowledgeResult.REFUSED
            return AcknowledgeResult.OK
        return AcknowledgeResult.NO_ANSWER

    def _done(self, work: Future[None]) -> None:
        if not work.cancelled() and (failure := work.exception()) is not None:
            self._failure = failure
            self._ended()
