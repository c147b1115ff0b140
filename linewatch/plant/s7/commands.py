"""The PLC's commands: each number is one command, carried out once and answered under its number.

The answer stands in the status block, in the PLC: a bridge that is started anew reads there what it has answered.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import structlog
from pydantic import ValidationError

from linewatch.plant.commands import CommandAnswer, CommandResult, CommandSender, PlantClient
from linewatch.plant.plc.acknowledge import BitAcknowledger
from linewatch.plant.plc.codes import ACKNOWLEDGE_BITS
from linewatch.plant.plc.values import Value
from linewatch.plant.s7.layout import CoilCommandCode, CoilCommandResult
from linewatch.wire.schema import CoilDataBody, explain

_RESULTS = {
    CommandResult.OK: CoilCommandResult.OK,
    CommandResult.REFUSED: CoilCommandResult.REFUSED,
    CommandResult.NO_ANSWER: CoilCommandResult.NO_ANSWER,
}
_TEXTS: Final = ("steel_grade", "product", "customer")
_LENGTHS: Final = ("thickness", "width", "length", "head_crop", "tail_crop")

log = structlog.get_logger()


class _NoCommandError(Exception):
    """What the PLC asks for is no command; says why."""


@dataclass(slots=True)
class _Numbered:
    """A command of one kind. taken: the number that is being carried out or was."""

    answered: int = 0
    taken: int = 0

    def takes(self, number: int) -> bool:
        """Return whether this number is a new command, and take it."""
        if number <= 0 or number in (self.answered, self.taken) or self.taken != self.answered:
            return False
        self.taken = number
        return True


@dataclass(slots=True)
class PlcCommands:
    """`resume`, `take` and `answers` are called by the thread that talks to the PLC; none of them waits."""

    acknowledger: BitAcknowledger
    sender: CommandSender
    client: PlantClient
    _lock: Lock = field(default_factory=Lock)
    _acknowledge: _Numbered = field(default_factory=_Numbered)
    _asked: tuple[int, ...] = ()
    _coil: _Numbered = field(default_factory=_Numbered)
    _coil_result: CoilCommandResult = CoilCommandResult.NONE
    _coil_why: str = ""

    def resume(self, status: Mapping[str, Value]) -> None:
        """Take the numbers that were answered from the status block, unless a command is under way."""
        with self._lock:
            for command, name in ((self._acknowledge, "acknowledge_answered"), (self._coil, "coil_answered")):
                if command.taken == command.answered:
                    command.taken = command.answered = _whole(status[name])

    def take(self, commands: Mapping[str, Value]) -> None:
        """Begin what is new in the commands block."""
        if self._acknowledge.takes(_whole(commands["acknowledge_number"])):
            bits = commands["acknowledge"]
            assert isinstance(bits, list)
            self._asked = tuple(bit for bit in range(ACKNOWLEDGE_BITS) if bits[bit])
            for bit in self._asked:
                self.acknowledger.ask(bit, self.client)
        with self._lock:
            new = self._coil.takes(_whole(commands["coil_number"]))
        if new:
            self._command_coil(commands)

    @property
    def answers(self) -> dict[str, Value]:
        """What the status block tells of the commands."""
        pending, results = self.acknowledger.now
        if not any(pending[bit] for bit in self._asked):
            self._acknowledge.answered = self._acknowledge.taken
        with self._lock:
            return {
                "acknowledge_answered": self._acknowledge.answered,
                "acknowledge_results": list(map(int, results)),
                "coil_answered": self._coil.answered,
                "coil_result": self._coil_result,
                "coil_answer": self._coil_why,
            }

    def _command_coil(self, commands: Mapping[str, Value]) -> None:
        try:
            self._send(commands)
        except _NoCommandError as error:
            self._answer(CommandAnswer(CommandResult.REFUSED, str(error)))

    def _send(self, commands: Mapping[str, Value]) -> None:
        action, coil, at = _whole(commands["coil_action"]), str(commands["coil_id"]), _whole(commands["coil_at"])
        if not coil:
            raise _NoCommandError("coil_id is empty; expected the coil that starts, ends or has these data")
        at_mm = float(at) if at >= 0 else None
        # The same command under the same number is one request, also of a bridge that was killed before it answered.
        content = repr([(name, commands[name]) for name in sorted(commands) if not name.startswith("acknowledge")])
        token = hashlib.sha256(f"{self.client.name} {content}".encode()).hexdigest()[:32]
        match action:
            case CoilCommandCode.START:
                self.sender.start_coil(coil, at_mm, self.client, self._answer, token=token)
            case CoilCommandCode.END:
                self.sender.end_coil(coil, at_mm, self.client, self._answer, token=token)
            case CoilCommandCode.DATA:
                self.sender.tell_coil(_data(coil, commands), self.client, self._answer, token=token)
            case _:
                raise _NoCommandError(f"coil_action is {action}; expected 1 start, 2 end or 3 data")

    def _answer(self, answer: CommandAnswer) -> None:
        with self._lock:
            self._coil_result, self._coil_why = _RESULTS[answer.result], answer.why
            self._coil.answered = self._coil.taken
        log.info("coil_command_finished", number=self._coil.answered, by=self.client.name, result=answer.result.value)


def _data(coil: str, commands: Mapping[str, Value]) -> CoilDataBody:
    found: dict[str, object] = {"coil": coil}
    found |= {name: text for name in _TEXTS if (text := commands[name])}
    for name in _LENGTHS:
        value = commands[name]
        assert isinstance(value, int | float)
        if value:
            # A REAL has 24 bits: 0.8 mm comes as 0.800000012.
            found[f"{name}_mm"] = float(f"{value:.7g}") if math.isfinite(value) else value
    try:
        return CoilDataBody.model_validate(found)
    except ValidationError as error:
        raise _NoCommandError(explain(error)) from error


def _whole(value: Value) -> int:
    assert isinstance(value, int | float)
    return int(value)
