"""The live page: the strip running by, with its defects where they are, and the newest picture of each camera."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from linewatch.hmi.page import Answer, Asked, Data, Page, PageError
from linewatch.hmi.texts import N_


async def _context(asked: Asked) -> Mapping[str, Any]:
    return {"cameras": asked.hmi.pictures.cameras}


async def _place(asked: Asked) -> Answer:
    """Where the newest picture of a camera lies, and the outlines in it; {} where there is none yet.

    outlines: in the picture's own lines and columns; null where they are not known. outlines_mm: of a joined strip's
    camera, in millimetres of the strip.
    """
    camera = asked.query.get("camera", "")[:160]
    try:
        found = await asked.hmi.pictures.newest(camera)
    except KeyError as error:
        raise PageError(404, N_("There is no such camera.")) from error
    if found is None:
        return {}
    about = found.about
    masks, place = asked.hmi.view.masks, about.model_dump(mode="json")
    if camera:
        return {**place, "outlines": None, "outlines_mm": masks.outlines_over(about.side, about.along_mm)}
    return {**place, "outlines": masks.outlines(about.side, about.camera, about.ordinal)}


async def _picture(asked: Asked) -> Answer:
    try:
        found = asked.hmi.pictures.kept(asked.query.get("camera", "")[:160], asked.number("ordinal", 0, 0, 1 << 53))
    except KeyError as error:
        raise PageError(404, N_("There is no such camera.")) from error
    if found is None:
        raise PageError(404, N_("This picture is not kept any more."))
    return Response(found.jpeg, media_type="image/jpeg")


async def _crop(asked: Asked) -> Answer:
    png = asked.hmi.view.crop(asked.query.get("defect", "")[:512])
    if png is None:
        raise PageError(404, N_("There is no picture of this defect here."))
    return Response(png, media_type="image/png")


LIVE = Page(
    "live",
    "/",
    N_("Live"),
    context=_context,
    data=(Data("/live/place", _place), Data("/live/picture", _picture), Data("/live/crop", _crop)),
)
