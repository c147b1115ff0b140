"""The engines page: which run, the one on trial and where it disagrees; an engineer exchanges them."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from linewatch.client import Commander
from linewatch.contracts.access import Role
from linewatch.hmi.page import Action, Answer, Asked, Data, Page, PageError
from linewatch.hmi.texts import N_
from linewatch.wire.schema import EngineAction, EngineReply


async def _context(asked: Asked) -> Mapping[str, Any]:
    return {"may_exchange": asked.role.covers(Role.ENGINEER) and asked.hmi.commands.possible}


async def _known(asked: Asked) -> Answer:
    """What the service says of its engines now."""
    return _told(await asked.hmi.commands.send(lambda to, _: to.engine(EngineAction.SHOW, by=asked.person)))


async def _disagreements(asked: Asked) -> Answer:
    reply, _ = await asked.hmi.commands.send(lambda to, _: to.disagreements())
    return reply.model_dump(mode="json", exclude={"schema_version", "schema_minor", "reply", "id"})


async def _picture(asked: Asked) -> Answer:
    """The tile of one disagreement; its number is of the trial of the engine `trial`."""
    wanted, trial = asked.number("number", 0, 0, 1 << 53), asked.query.get("trial", "")
    reply, pictures = await asked.hmi.commands.send(lambda to, _: to.disagreements())
    for one, picture in zip(reply.disagreements, pictures, strict=True):
        if reply.trial == trial and one.number == wanted:
            return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
    raise PageError(404, N_("This picture is not kept any more."))


async def _exchange(asked: Asked) -> Answer:
    try:
        action = EngineAction(str(asked.body.get("action")))
    except ValueError as error:
        raise PageError(400, f"expected an action: {', '.join(EngineAction)}") from error
    name, shadow = asked.body.get("name", ""), asked.body.get("shadow", False)
    if not isinstance(name, str) or not isinstance(shadow, bool):
        raise PageError(400, N_("Name the engine to load."))

    def command(to: Commander, _token: str) -> EngineReply:
        return to.engine(action, name, shadow=shadow, by=asked.person)

    return _told(await asked.hmi.commands.send(command))


def _told(reply: EngineReply) -> dict[str, Any]:
    return reply.model_dump(mode="json", include={"engines", "beside", "available", "back_to"})


ENGINES = Page(
    "engines",
    "/engines",
    N_("Engines"),
    context=_context,
    data=(
        Data("/engines/known", _known),
        Data("/engines/disagreements", _disagreements),
        Data("/engines/picture", _picture),
    ),
    actions=(Action("/engines/exchange", _exchange, Role.ENGINEER),),
)
