"""The page of one defect: its picture, outline and activation map, what the engine told of it, and what people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import structlog
from starlette.responses import Response

from linewatch.contracts.access import Role
from linewatch.contracts.errors import HistoryError
from linewatch.history.archived_images import ArchivedImage, archived_images
from linewatch.history.labels import LabelVerdict, label, labels_of, take_back
from linewatch.history.queries import DefectRow, defect_rows, engines_at, masks, neighbours, passage
from linewatch.hmi.page import Action, Answer, Asked, Data, Page, PageError
from linewatch.hmi.record_json import defect_json, label_json
from linewatch.hmi.shown_engine import shown_engine
from linewatch.hmi.texts import N_
from linewatch.hmi.worker import run_worker

if TYPE_CHECKING:
    import sqlalchemy as sa

NEAR_MM: Final = 20_000.0
NEIGHBOURS: Final = 12
ACTIVATION_S: Final = 25.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoredDefect:
    """A defect with its picture, where one is stored."""

    row: DefectRow
    length_mm: float  # of its passage
    picture: ArchivedImage | None


def stored_defect(connection: "sa.Connection", number: int, images_dir: Path | None) -> StoredDefect:
    """Return the defect of that number. Raises PageError 404 where there is none."""
    for row in defect_rows(connection, [number]):
        picture = None
        if images_dir is not None:
            found = archived_images(connection, images_dir, row.passage, [row.defect.id])
            picture = _inside(found.get(row.defect.id), images_dir)
        return StoredDefect(row, passage(connection, row.passage).passed_mm, picture)
    raise PageError(404, N_("There is no such defect in the history."))


def _inside(picture: ArchivedImage | None, images_dir: Path) -> ArchivedImage | None:
    """Return a picture that lies in the archive's folder; its path comes from the database, which others may write."""
    if picture is None or picture.path.resolve().is_relative_to(images_dir.resolve()):
        return picture
    log.warning("picture_outside_the_archive", path=str(picture.path)[:500])
    return None


async def _context(asked: Asked) -> Mapping[str, Any]:
    number, images_dir = number_of(asked), asked.hmi.records.images_dir
    found = await asked.hmi.records.ask(lambda connection: stored_defect(connection, number, images_dir))
    return {
        "defect": defect_json(found.row, found.length_mm),
        "may_label": may_label(asked),
    }


async def _about(asked: Asked) -> Answer:
    number = number_of(asked)
    return await asked.hmi.records.ask(lambda connection: about(connection, asked, number))


def about(connection: "sa.Connection", asked: Asked, number: int) -> Mapping[str, Any]:
    """Return all that the page shows of a defect but its picture."""
    images_dir = asked.hmi.records.images_dir
    found = stored_defect(connection, number, images_dir)
    row = found.row
    near = neighbours(connection, row, NEAR_MM, NEIGHBOURS)
    said = labels_of(connection, [number, *(one.number for one in near)])
    engines = engines_at(connection, row.passage, row.defect.box.along_mm[0])
    shown = shown_engine(engines, asked.hmi.settings.engines_dir)
    return {
        "defect": defect_json(row, found.length_mm, said.get(number)),
        "picture": _picture_json(connection, found),
        "neighbours": [defect_json(one, found.length_mm, said.get(one.number)) for one in near],
        "engines": engines,
        "activation": None if shown is None else {"engine": shown[0], "task": shown[1]},
    }


async def _picture(asked: Asked) -> Answer:
    found = await _of_picture(asked)
    try:
        body = found.path.read_bytes()
    except OSError as error:
        raise PageError(404, N_("There is no picture of this defect.")) from error
    return Response(body, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


async def _activation(asked: Asked) -> Answer:
    """The map of the engine that found the defect, made now, as a PNG to lay over the picture; its largest value."""
    number, images_dir = number_of(asked), asked.hmi.records.images_dir

    def read(connection: "sa.Connection") -> tuple[StoredDefect, tuple[str, ...]]:
        found = stored_defect(connection, number, images_dir)
        return found, engines_at(connection, found.row.passage, found.row.defect.box.along_mm[0])

    found, engines = await asked.hmi.records.ask(read)
    engines_dir = asked.hmi.settings.engines_dir
    shown = shown_engine(engines, engines_dir)
    if found.picture is None or shown is None:
        raise PageError(404, N_("The engine that found this defect is not here: it cannot show where it looked."))
    at = found.picture
    places = (str(value) for value in (at.lines, at.columns, at.left_px))
    given = str(at.path.absolute()), str(engines_dir), shown[0], *places, *asked.hmi.settings.trusted_signers
    answer = await run_worker("linewatch.inference.activation", *given, limit_s=ACTIVATION_S)
    largest, _, body = answer.partition(b"\n")
    return Response(body, media_type="image/png", headers={"X-Largest": largest.decode()})


async def _label(asked: Asked) -> Answer:
    """Store what the person says of the defect."""
    number = number_of(asked)
    verdict, right_class = asked.body.get("verdict"), asked.body.get("right_class")
    if verdict not in (LabelVerdict.RIGHT, LabelVerdict.WRONG_CLASS, LabelVerdict.NOT_A_DEFECT):
        raise PageError(400, N_("Expected right, wrong-class or not-a-defect."))
    if right_class is not None and (not isinstance(right_class, str) or not 0 < len(right_class) <= 64):
        raise PageError(400, N_("The right class is no name."))

    def say(connection: "sa.Connection") -> Mapping[str, Any]:
        try:
            return label_json(label(connection, str(number), LabelVerdict(verdict), right_class, asked.person))
        except HistoryError as error:
            raise PageError(409, N_("This was not labelled: {why}"), why=error) from error

    return await asked.hmi.records.write(say)


async def _take_back(asked: Asked) -> Answer:
    """Delete the person's own newest label of the defect."""
    number = number_of(asked)

    def undo(connection: "sa.Connection") -> Mapping[str, Any]:
        try:
            before = take_back(connection, number, asked.person)
        except HistoryError as error:
            raise PageError(409, N_("Nothing was taken back: {why}"), why=error) from error
        log.info("label_taken_back", defect=before.name, verdict=before.verdict, who=before.who)
        counts = labels_of(connection, [number]).get(number)
        return {"label": None if counts is None else label_json(counts)}

    return await asked.hmi.records.write(undo)


def number_of(asked: Asked) -> int:
    """Return the defect that the address names. Raises PageError where no database could number one so."""
    number = int(asked.path["number"])
    if not 0 < number < 1 << 53:
        raise PageError(404, N_("There is no such defect in the history."))
    return number


def may_label(asked: Asked) -> bool:
    """Return whether this person's labels are taken."""
    return bool(asked.person) and asked.role.covers(Role.OPERATOR)


async def _of_picture(asked: Asked) -> ArchivedImage:
    number, images_dir = number_of(asked), asked.hmi.records.images_dir
    found = await asked.hmi.records.ask(lambda connection: stored_defect(connection, number, images_dir))
    if found.picture is None:
        raise PageError(404, N_("There is no picture of this defect."))
    return found.picture


def _picture_json(connection: "sa.Connection", found: StoredDefect) -> Mapping[str, Any] | None:
    """Return the picture's place and the outline in it, an SVG path in its pixels; None where there is no picture."""
    picture = found.picture
    pixels = None if picture is None else picture.read()
    if picture is None or pixels is None:
        return None
    mask = picture.mask(part for _, part in masks(connection, [found.row.number]))
    return {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "across_mm": picture.box.across_mm,
        "along_mm": picture.box.along_mm,
        "outline": outline_path(mask),
    }


def outline_path(mask: np.ndarray) -> str:
    """Return the outlines of a mask, uint8 (lines, columns), as an SVG path in pixels; "" for an empty one."""
    wide = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    found, _ = cv2.findContours(wide, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return "".join(
        "M" + "L".join(f"{x - 0.5:g} {y - 0.5:g}" for x, y in outline[:, 0, :].tolist()) + "z" for outline in found
    )


DEFECT = Page(
    "defect",
    "/defects/{number:int}",
    N_("Defect"),
    context=_context,
    data=(
        Data("/defects/{number:int}/about", _about),
        Data("/defects/{number:int}/picture.png", _picture),
        Data("/defects/{number:int}/activation.png", _activation),
    ),
    actions=(
        Action("/defects/{number:int}/label", _label),
        Action("/defects/{number:int}/take-back", _take_back),
    ),
)
