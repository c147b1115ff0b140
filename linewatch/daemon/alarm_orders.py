"""Takes operators' commands about alarms from the command socket to the decision, and their results back from disk.

A request is identified by its token. Sent again, it is answered as before and changes nothing, whether it is pending,
was carried out, or was carried out before a restart.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from linewatch.contracts.access import Caller
from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmCommand, AlarmNotice, AlarmOrder
from linewatch.wire.encode import alarm_body
from linewatch.wire.schema import AlarmBody, AlarmRequest

ANSWERS_KEPT = 1024
PENDING_MAX = 64
SOURCE_ENDED = "the service has stopped deciding: its source has ended"


@dataclass(slots=True)
class AlarmOrderOutcome:
    """The result of a request, complete once it is `done`: its transitions are on disk, or it is refused."""

    action: AlarmAction
    key: str | None = None  # the name of the key that it came with
    order: AlarmOrder | None = None  # None: it was carried out in an earlier run
    begun: bool = False
    done: bool = False
    refused: str | None = None
    changed: list[AlarmBody] = field(default_factory=list)


class AlarmOrders:
    """`take` is for the command socket's thread, `begin` and `close` for the decision's, `settle` for the outlet's."""

    def __init__(self, earlier: Iterable[AlarmBody], hand_on: Callable[[AlarmOrder], None]) -> None:
        """earlier: alarms as commands left them in earlier runs. hand_on: have the decision carry an order out."""
        self._hand_on = hand_on
        self._lock = threading.Lock()
        self._outcomes: OrderedDict[str, AlarmOrderOutcome] = OrderedDict()
        self._pending = 0
        self._closed = False
        for body in earlier:
            if body.command is not None:
                command = AlarmCommand(**body.command.model_dump())
                outcome = AlarmOrderOutcome(command.action, command.key, done=True)
                self._outcomes.setdefault(command.token, outcome).changed.append(body)

    def take(self, request: AlarmRequest, caller: Caller) -> AlarmOrderOutcome:
        """Return the request's outcome, done now or later; one that is done and refused if it cannot be taken."""
        with self._lock:
            known = self._outcomes.get(request.token)
            if known is not None and not _is_the_same(known, request, caller):
                return _refusal(request, "its token names another request")
            if known is not None:
                return known
            if self._closed:
                return _refusal(request, SOURCE_ENDED)
            if self._pending >= PENDING_MAX:
                return _refusal(request, f"{self._pending} commands are pending; try again")
            by, said_by = caller.named(request.by)
            command = AlarmCommand(request.token, request.action, by, time.time_ns(), said_by, request.comment)
            order = AlarmOrder(command, request.alarm, request.minutes)
            outcome = self._outcomes[request.token] = AlarmOrderOutcome(request.action, caller.key, order)
            self._pending += 1
            while len(self._outcomes) > ANSWERS_KEPT and next(iter(self._outcomes.values())).done:
                self._outcomes.popitem(last=False)
            self._hand_on(order)
            return outcome

    def begin(self, order: AlarmOrder) -> None:
        """Record that the decision carries an order out, and so will settle it."""
        with self._lock:
            self._outcomes[order.command.token].begun = True

    def settle(self, notice: AlarmNotice) -> None:
        """Complete the outcome of a command whose result is on disk."""
        if notice.command is None:
            return
        with self._lock:
            ours = [alarm for alarm in notice.alarms if alarm.command == notice.command]
            self._finish(self._outcomes[notice.command.token], notice.refused, ours)

    def close(self) -> None:
        """Refuse the orders that the decision has not begun, and all to come."""
        with self._lock:
            self._closed = True
            for outcome in self._outcomes.values():
                if not outcome.begun and not outcome.done:
                    self._finish(outcome, SOURCE_ENDED, [])

    def _finish(self, outcome: AlarmOrderOutcome, refused: str | None, alarms: list[Alarm]) -> None:
        outcome.refused = refused
        outcome.changed = [alarm_body(alarm, None) for alarm in alarms]
        outcome.done = True
        self._pending -= 1


def _is_the_same(known: AlarmOrderOutcome, request: AlarmRequest, caller: Caller) -> bool:
    order = known.order
    if known.key != caller.key:
        return False
    if order is None:
        return known.action is request.action
    return (known.action, order.alarm, order.minutes) == (request.action, request.alarm, request.minutes)


def _refusal(request: AlarmRequest, why: str) -> AlarmOrderOutcome:
    return AlarmOrderOutcome(request.action, done=True, refused=why)
