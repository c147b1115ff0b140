"""Operators' commands on their way: from the command socket to the decision, and back when they are on disk.

A request is named by its token. Sent again, it is answered as before and changes nothing, whether it is still on its
way, was carried out, or was carried out before a restart.
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
ON_THEIR_WAY = 64
OVER = "the service decides nothing any more: its source has ended"


@dataclass(slots=True)
class Outcome:
    """What became of a request; `done` once its transitions are on disk, or it is refused."""

    action: AlarmAction
    key: str | None = None  # that it came with
    order: AlarmOrder | None = None  # None: of an earlier run
    begun: bool = False
    done: bool = False
    refused: str | None = None
    changed: list[AlarmBody] = field(default_factory=list)


class Orders:
    """`take` is for the command socket's thread, `begin` and `close` for the decision's, `settle` for the outlet's."""

    def __init__(self, told: Iterable[AlarmBody], hand_on: Callable[[AlarmOrder], None]) -> None:
        """told: what commands brought in earlier runs. hand_on: have the decision carry an order out."""
        self._hand_on = hand_on
        self._lock = threading.Lock()
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._waiting = 0
        self._closed = False
        for body in told:
            if body.command is not None:
                command = AlarmCommand(**body.command.model_dump())
                earlier = Outcome(command.action, command.key, done=True)
                self._outcomes.setdefault(command.token, earlier).changed.append(body)

    def take(self, request: AlarmRequest, caller: Caller) -> Outcome:
        """What becomes of the request, now or later; an outcome of its own that is refused when it cannot be taken."""
        with self._lock:
            known = self._outcomes.get(request.token)
            if known is not None and not _is_the_same(known, request, caller):
                return _refusal(request, "its token names another request")
            if known is not None:
                return known
            if self._closed:
                return _refusal(request, OVER)
            if self._waiting >= ON_THEIR_WAY:
                return _refusal(request, f"{self._waiting} commands are on their way already; try again")
            by, said_by = caller.named(request.by)
            command = AlarmCommand(request.token, request.action, by, time.time_ns(), said_by)
            order = AlarmOrder(command, request.alarm, request.minutes)
            outcome = self._outcomes[request.token] = Outcome(request.action, caller.key, order)
            self._waiting += 1
            while len(self._outcomes) > ANSWERS_KEPT and next(iter(self._outcomes.values())).done:
                self._outcomes.popitem(last=False)
            self._hand_on(order)
            return outcome

    def begin(self, order: AlarmOrder) -> None:
        """The decision carries it out: it will be settled."""
        with self._lock:
            self._outcomes[order.command.token].begun = True

    def settle(self, notice: AlarmNotice) -> None:
        """What a command brought is on disk."""
        if notice.command is None:
            return
        with self._lock:
            ours = [alarm for alarm in notice.alarms if alarm.command == notice.command]
            self._finish(self._outcomes[notice.command.token], notice.refused, ours)

    def close(self) -> None:
        """The decision takes no more orders: those that it has not begun are refused."""
        with self._lock:
            self._closed = True
            for outcome in self._outcomes.values():
                if not outcome.begun and not outcome.done:
                    self._finish(outcome, OVER, [])

    def _finish(self, outcome: Outcome, refused: str | None, alarms: list[Alarm]) -> None:
        outcome.refused = refused
        outcome.changed = [alarm_body(alarm, None) for alarm in alarms]
        outcome.done = True
        self._waiting -= 1


def _is_the_same(known: Outcome, request: AlarmRequest, caller: Caller) -> bool:
    order = known.order
    if known.key != caller.key:
        return False
    if order is None:
        return known.action is request.action
    return (known.action, order.alarm, order.minutes) == (request.action, request.alarm, request.minutes)


def _refusal(request: AlarmRequest, why: str) -> Outcome:
    return Outcome(request.action, done=True, refused=why)
