"""Commands from a plant to the service, sent one by one from a thread of their own."""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Event, Lock
from typing import Final

import structlog

from linewatch.client import ClientKeys, Commander
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.contracts.access import Role
from linewatch.contracts.alarm import AlarmAction
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import CommandSettings
from linewatch.wire.roles import LEAST_ROLE
from linewatch.wire.schema import AlarmReply, CoilAction, CoilDataBody, CoilReply

ANSWER_TIMEOUT_S: Final = 1.0
"""Of one attempt; the next one has the same token."""
MOST_WAITING: Final = 256
"""Commands that are not answered yet; one more is refused."""
_NAME_LENGTH: Final = 64  # of `by` on the wire

log = structlog.get_logger()


class CommandResult(StrEnum):
    """The result of a command, or the worst of several; the worst stands first."""

    NO_ANSWER = "no_answer"  # the command may or may not have been carried out
    REFUSED = "refused"
    OK = "ok"  # carried out, and on the service's disk


@dataclass(frozen=True, slots=True)
class PlantClient:
    """Who asks, on the plant's side of a bridge.

    name: the protocol with the user or address, for the record: the service stores it beside the bridge's own key.
    role: what the bridge lets this client do. The service holds the bridge's key to its own role as well.
    """

    name: str
    role: Role = Role.OPERATOR


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What became of a command. why: of a result that is not OK. reply: the service's; None: there is none."""

    result: CommandResult
    why: str = ""
    reply: AlarmReply | CoilReply | None = None


Done = Callable[[CommandAnswer], object]
"""Takes the answer. Called from the commands' thread, or before the call that it belongs to returns; must not wait."""
_Send = Callable[[Commander, str, str], AlarmReply | CoilReply]  # with the token, and with who asks


class CommandSender:
    """No call waits. A command is carried out once, over lost answers and restarts of the service.

    token: of a request that the plant may repeat, such as a message that is delivered at least once: the service
    carries out one token once, also when a restarted bridge sends it again. 8 to 64 letters, digits, `-`, `_`; None: a
    new one.
    """

    def __init__(self, settings: CommandSettings, keys: ClientKeys | None, ended: Callable[[], object]) -> None:
        """keys: an operator's, where the service has keys. `ended` is called when the thread fails."""
        self._settings = settings
        self._keys = keys
        self._ended = ended
        self._stop = Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="commands")
        self._failure: BaseException | None = None
        self._lock, self._waiting = Lock(), 0

    def stop(self) -> None:
        """Return when the thread has ended; raise its failure. Commands not sent yet are dropped."""
        self._stop.set()
        self._worker.shutdown(cancel_futures=True)
        if self._failure is not None:
            raise self._failure

    def acknowledge(self, alarms: Sequence[str], client: PlantClient, done: Done, *, token: str | None = None) -> None:
        """Acknowledge alarms by their ids. `done` gets the worst answer. token: for one alarm."""

        def send(alarm: str) -> _Send:
            return lambda service, token, by: service.acknowledge(alarm, token=token, by=by)

        self._submit(("alarm", AlarmAction.ACKNOWLEDGE), client, list(map(send, alarms)), token, done)

    def shelve(
        self, alarm: str, minutes: float | None, client: PlantClient, done: Done, *, token: str | None = None
    ) -> None:
        """Shelve a rule's alarms for `minutes`; None: until the alarm becomes inactive. alarm: an id, or the rule."""

        def send(service: Commander, token: str, by: str) -> AlarmReply:
            return service.shelve(alarm, minutes, token=token, by=by)

        self._submit(("alarm", AlarmAction.SHELVE), client, [send], token, done)

    def unshelve(self, alarm: str, client: PlantClient, done: Done, *, token: str | None = None) -> None:
        """End the shelving of a rule's alarms."""

        def send(service: Commander, token: str, by: str) -> AlarmReply:
            return service.unshelve(alarm, token=token, by=by)

        self._submit(("alarm", AlarmAction.UNSHELVE), client, [send], token, done)

    def tell_coil(self, data: CoilDataBody, client: PlantClient, done: Done, *, token: str | None = None) -> None:
        """Supply the data of a coil, before or while it passes."""

        def send(service: Commander, token: str, by: str) -> CoilReply:
            return service.tell_coil(data, token=token, by=by)

        self._submit(("coil", CoilAction.DATA), client, [send], token, done)

    def start_coil(
        self, coil: str, at_mm: float | None, client: PlantClient, done: Done, *, token: str | None = None
    ) -> None:
        """Start a coil when the coil under the camera reaches `at_mm`; None: with the next line."""

        def send(service: Commander, token: str, by: str) -> CoilReply:
            return service.start_coil(coil, at_mm, token=token, by=by)

        self._submit(("coil", CoilAction.START), client, [send], token, done)

    def end_coil(
        self, coil: str | None, at_mm: float | None, client: PlantClient, done: Done, *, token: str | None = None
    ) -> None:
        """End the coil under the camera. coil: the one that is meant, as a check."""

        def send(service: Commander, token: str, by: str) -> CoilReply:
            return service.end_coil(coil, at_mm, token=token, by=by)

        self._submit(("coil", CoilAction.END), client, [send], token, done)

    def _submit(
        self, kind: tuple[str, str], client: PlantClient, sends: Sequence[_Send], token: str | None, done: Done
    ) -> None:
        by, what = _short(made_printable(client.name)), " ".join(kind)
        refused = ""
        if not client.role.covers(least := LEAST_ROLE[kind]):
            refused = f"{what} needs the role {least}; {by} is {client.role}"
        with self._lock:
            if not refused and self._waiting >= MOST_WAITING:
                refused = f"{self._waiting} commands wait for an answer already; try again"
            self._waiting += not refused
        if refused:
            log.warning("command_not_carried_out", what=what, by=by, why=refused)
            done(CommandAnswer(CommandResult.REFUSED, refused))
            return
        work = self._worker.submit(self._send_all, what, by, tuple(sends), token, time.monotonic(), done)
        work.add_done_callback(self._check)

    def _send_all(
        self, what: str, by: str, sends: Sequence[_Send], token: str | None, asked_s: float, done: Done
    ) -> None:
        answers: list[CommandAnswer] = []
        try:
            with Commander(self._settings.commands, ANSWER_TIMEOUT_S, keys=self._keys) as commander:
                for send in sends:
                    answers.append(self._send(commander, send, token, by, asked_s + self._settings.give_up_s))
                    if answers[-1].result is CommandResult.NO_ANSWER:
                        break
                    asked_s = time.monotonic()
        except WireError as error:  # a key that cannot be read any more
            answers.append(CommandAnswer(CommandResult.REFUSED, str(error)))
        worst = min(answers, key=lambda answer: list(CommandResult).index(answer.result))
        if worst.result is not CommandResult.OK:
            log.warning("command_not_carried_out", what=what, by=by, why=worst.why)
        done(worst)

    def _send(self, commander: Commander, send: _Send, token: str | None, by: str, give_up_s: float) -> CommandAnswer:
        """Send the command, and again until `give_up_s` while no answer comes."""
        token = token or secrets.token_hex(16)  # the service carries out one token once, however often it is sent
        why = "the bridge ends"
        while not self._stop.is_set():
            try:
                return CommandAnswer(CommandResult.OK, reply=send(commander, token, by))
            except WireError as error:
                if not isinstance(error, NoAnswerError) or isinstance(error, RefusedError):
                    return CommandAnswer(CommandResult.REFUSED, str(error))
                why = str(error)
                if time.monotonic() >= give_up_s:
                    break
        return CommandAnswer(CommandResult.NO_ANSWER, why)

    def _check(self, work: Future[None]) -> None:
        with self._lock:
            self._waiting -= 1
        if not work.cancelled() and (failure := work.exception()) is not None:
            self._failure = failure
            self._ended()


def _short(name: str) -> str:
    """Return a name that the wire takes: of a longer one the middle is left out, so that protocol and address stay."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 41]}…{name[-40:]}"
