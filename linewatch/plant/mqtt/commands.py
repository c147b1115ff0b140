"""Commands from the plant: what arrives on the command topic is checked, carried out once and answered.

MQTT keeps messages and repeats them. A broker retains what was sent with the flag, and hands it to the bridge at each
connection; a client or a bridge of brokers may send again what it has queued for days. So a command counts only when it
is not retained, is fresh by its own time, and has a token that was not used.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

import structlog
from pydantic import ValidationError

from linewatch.contracts.alarm import AlarmAction
from linewatch.contracts.errors import WireError
from linewatch.plant.commands import CommandAnswer, CommandResult, CommandSender, PlantClient
from linewatch.plant.mqtt.bodies import (
    COMMAND,
    AlarmCommandBody,
    CoilDataCommandBody,
    CoilEndBody,
    CoilStartBody,
    Command,
    ReplyBody,
    TokenBody,
)
from linewatch.plant.mqtt.broker import Arrived
from linewatch.plant.mqtt.settings import PlantCommandSettings
from linewatch.wire.schema import explain

MAX_BYTES: Final = 4 << 10
MAX_TOKENS: Final = 10_000
"""Commands of twice `fresh_s`; more are refused."""

log = structlog.get_logger()

Answer = Callable[[Arrived, ReplyBody], object]


class CommandDesk:
    """Thread-safe. A command is answered once; its repetition gets the same answer, or none while it is on its way."""

    def __init__(
        self, settings: PlantCommandSettings, sender: CommandSender, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._fresh_ms = round(1000 * settings.fresh_s)
        self._sender = sender
        self._now_ns = now_ns
        self._lock = Lock()
        self._seen: dict[str, tuple[int, ReplyBody | None]] = {}  # by token: when it was sent, and its answer

    def take(self, message: Arrived, answer: Answer) -> None:
        """Take what arrived. `answer` is called at once or from another thread."""
        try:
            command = self._checked(message)
        except WireError as refusal:
            log.warning("command_refused", topic=message.topic, why=str(refusal))
            answer(message, ReplyBody(token=_token(message.payload), result=CommandResult.REFUSED, why=str(refusal)))
            return
        with self._lock:
            known = command.token in self._seen
            reply = self._seen[command.token][1] if known else None
            self._seen.setdefault(command.token, (command.at_unix_ms, None))
        if not known:
            self._carry(command, message, answer)
        elif reply is not None:
            answer(message, reply)

    def _carry(self, command: Command, message: Arrived, answer: Answer) -> None:
        client = PlantClient(f"mqtt {command.by}".rstrip())

        def done(answered: CommandAnswer) -> None:
            reply = ReplyBody(token=command.token, result=answered.result, why=answered.why or None)
            log.info(
                "command_finished",
                command=command.command,
                by=client.name,
                token=reply.token,
                result=str(reply.result),
                why=reply.why,
            )
            with self._lock:
                if answered.result is CommandResult.NO_ANSWER:  # sent again, the service carries it out once
                    self._seen.pop(command.token, None)
                else:
                    self._seen[command.token] = (command.at_unix_ms, reply)
            answer(message, reply)

        sender, token = self._sender, command.token
        match command:
            case AlarmCommandBody(command=AlarmAction.ACKNOWLEDGE):
                sender.acknowledge([command.alarm], client, done, token=token)
            case AlarmCommandBody(command=AlarmAction.SHELVE):
                sender.shelve(command.alarm, command.minutes, client, done, token=token)
            case AlarmCommandBody():
                sender.unshelve(command.alarm, client, done, token=token)
            case CoilStartBody():
                sender.start_coil(command.coil, command.at_mm, client, done, token=token)
            case CoilEndBody():
                sender.end_coil(command.coil, command.at_mm, client, done, token=token)
            case CoilDataCommandBody():
                sender.tell_coil(command.data, client, done, token=token)

    def _checked(self, message: Arrived) -> Command:
        """Return the command. Raises WireError: found, expected, remedy."""
        if message.retain:
            raise WireError("a retained message, expected a command that is sent now; send it with retain = false")
        if len(message.payload) > MAX_BYTES:
            raise WireError(f"{len(message.payload)} bytes, expected at most {MAX_BYTES}")
        try:
            command = COMMAND.validate_json(message.payload)
        except ValidationError as error:
            raise WireError(explain(error)) from error
        now_ms = self._now_ns() // 1_000_000
        age_ms = now_ms - command.at_unix_ms
        if abs(age_ms) > self._fresh_ms:
            when = f"{age_ms / 1000:.1f} s ago" if age_ms > 0 else f"in {-age_ms / 1000:.1f} s"
            raise WireError(
                f"at_unix_ms is {when}, expected within {self._fresh_ms / 1000:g} s of the bridge's clock; "
                "send it anew, or set the sender's clock"
            )
        with self._lock:
            for token, (sent_ms, reply) in list(self._seen.items()):
                if reply is not None and now_ms - sent_ms > 2 * self._fresh_ms:
                    del self._seen[token]
            if len(self._seen) >= MAX_TOKENS:
                raise WireError(f"{len(self._seen)} commands in a short time, expected fewer; send it again later")
        return command


def _token(payload: bytes) -> str | None:
    """Return the token of a command that is refused, for its sender; None where there is none to be found."""
    try:
        return TokenBody.model_validate_json(payload[:MAX_BYTES]).token
    except ValidationError:
        return None
