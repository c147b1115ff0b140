"""The alarms page: what asks for an operator, what is shelved, by whom and why, and what to do about it."""

from collections.abc import Callable
from typing import Any

from linewatch.client import Commander
from linewatch.contracts.alarm import ShelvingState
from linewatch.hmi.page import Action, Answer, Asked, Page, PageError
from linewatch.hmi.texts import N_
from linewatch.wire.schema import AlarmReply

MOST_MINUTES = 10_080.0
MOST_COMMENT = 200


async def _acknowledge(asked: Asked) -> Answer:
    """Acknowledge the alarms that were on the person's screen; one that came after that is not meant."""
    wanted = asked.body.get("alarms")
    if not isinstance(wanted, list) or not 0 < len(wanted) <= 200:
        raise PageError(400, N_("Name the alarms to acknowledge."))
    comment, changed = _text(asked, "comment"), 0
    for alarm in map(_alarm, wanted):
        try:
            reply = await _sent(asked, _acknowledging(alarm, comment, asked.person))
        except PageError as error:
            if error.status != 409 or len(wanted) == 1:
                raise
            continue  # it was over before its turn came
        changed += bool(reply.changed)
    return {"changed": changed}


async def _shelve(asked: Asked) -> Answer:
    alarm, comment = _alarm(asked.body.get("alarm")), _text(asked, "comment")
    if not comment:
        raise PageError(400, N_("Say why the alarm is shelved."))
    minutes = asked.body.get("minutes")
    if minutes is not None and (
        isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MOST_MINUTES
    ):
        raise PageError(400, N_("Shelve for more than 0 and at most 10,080 minutes."))

    def command(to: Commander, token: str) -> AlarmReply:
        for_minutes = None if minutes is None else float(minutes)
        return to.shelve(alarm, for_minutes, token=token, by=asked.person, comment=comment)

    return _shelved(await _sent(asked, command))


async def _unshelve(asked: Asked) -> Answer:
    alarm, comment = _alarm(asked.body.get("alarm")), _text(asked, "comment")

    def command(to: Commander, token: str) -> AlarmReply:
        return to.unshelve(alarm, token=token, by=asked.person, comment=comment)

    return _shelved(await _sent(asked, command))


async def _sent(asked: Asked, command: Callable[[Commander, str], AlarmReply]) -> AlarmReply:
    return await asked.hmi.commands.send(command)


def _acknowledging(alarm: str, comment: str, person: str) -> Callable[[Commander, str], AlarmReply]:
    return lambda to, token: to.acknowledge(alarm, token=token, by=person, comment=comment)


def _shelved(reply: AlarmReply) -> dict[str, Any]:
    shelf = next((one for one in reply.changed if one.shelving_state is not ShelvingState.UNSHELVED), None)
    until = shelf.shelved_until_unix_ns if shelf is not None else None
    return {"changed": len(reply.changed), "until_unix_ms": None if until is None else until // 1_000_000}


def _alarm(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 512:
        raise PageError(400, N_("There is no such alarm."))
    return name


def _text(asked: Asked, name: str) -> str:
    text = asked.body.get(name, "")
    if not isinstance(text, str) or len(text) > MOST_COMMENT or not (text.isprintable() or not text):
        raise PageError(400, N_("A reason is one line of at most 200 characters."))
    return text.strip()


ALARMS = Page(
    "alarms",
    "/alarms",
    N_("Alarms"),
    actions=(
        Action("/alarms/acknowledge", _acknowledge),
        Action("/alarms/shelve", _shelve),
        Action("/alarms/unshelve", _unshelve),
    ),
)
