"""Commands from a plant to the service, sent one by one from a thread of their own."""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from threading import Event

import structlog

from linewatch.client import ClientKeys, Commander
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import CommandSettings

ANSWER_TIMEOUT_S = 1.0  # of one attempt; the next one has the same token

log = structlog.get_logger()


class CommandResult(StrEnum):
    """The result of a command, or the worst of several; the worst stands first."""

    NO_ANSWER = "no_answer"  # the command may or may not have been carried out
    REFUSED = "refused"
    OK = "ok"  # carried out, and on the service's disk


class CommandSender:
    """`acknowledge` never waits. A command is carried out once, over lost answers and restarts of the service."""

    def __init__(self, settings: CommandSettings, keys: ClientKeys | None, ended: Callable[[], object]) -> None:
        """keys: an operator's, where the service has keys. `ended` is called when the thread fails."""
        self._settings = settings
        self._keys = keys
        self._ended = ended
        self._stop = Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="commands")
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Return when the thread has ended; raise its failure. Commands not sent yet are dropped."""
        self._stop.set()
        self._worker.shutdown(cancel_futures=True)
        if self._failure is not None:
            raise self._failure

    def acknowledge(self, alarms: Sequence[str], by: str, done: Callable[[CommandResult], object]) -> None:
        """Acknowledge alarms by their ids. by: the operator or controller that asked, for the record.

        `done` is called from the thread with the worst result.
        """
        asked_s = time.monotonic()
        self._worker.submit(self._acknowledge_all, tuple(alarms), by, asked_s, done).add_done_callback(self._check)

    def _acknowledge_all(
        self, alarms: Sequence[str], by: str, asked_s: float, done: Callable[[CommandResult], object]
    ) -> None:
        results = set()
        with Commander(self._settings.commands, ANSWER_TIMEOUT_S, keys=self._keys) as commander:
            for alarm in alarms:
                results.add(self._acknowledge(commander, alarm, by, asked_s + self._settings.give_up_s))
                if CommandResult.NO_ANSWER in results:
                    break
                asked_s = time.monotonic()
        done(next(result for result in CommandResult if result in results))

    def _acknowledge(self, commander: Commander, alarm: str, by: str, give_up_s: float) -> CommandResult:
        """Send the command, and again until `give_up_s` while no answer comes."""
        token = secrets.token_hex(16)  # the service carries out one token once, however often it is sent
        while not self._stop.is_set():
            try:
                commander.acknowledge(alarm, token=token, by=by)
            except WireError as error:
                if isinstance(error, NoAnswerError) and not isinstance(error, RefusedError):
                    if time.monotonic() < give_up_s:
                        continue
                    break
                log.warning("not_acknowledged", alarm=alarm, by=by, why=str(error))
                return CommandResult.REFUSED
            return CommandResult.OK
        return CommandResult.NO_ANSWER

    def _check(self, work: Future[None]) -> None:
        if not work.cancelled() and (failure := work.exception()) is not None:
            self._failure = failure
            self._ended()
