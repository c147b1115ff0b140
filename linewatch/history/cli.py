"""`linewatch history`, `coils`, `defects`, `label`, `missed` and `labels`: the database of coils that have passed."""

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import LimitedChoice

from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import StripBox
from linewatch.logs import configure_logs
from linewatch.terminal import AsJson, coil_named, extra, wide_console

HISTORY = Path("configs/history.toml")

Config = Annotated[Path, Parameter(help="Configuration of `linewatch history`.")]
Who = Annotated[str | None, Parameter(name=["--by", "--who"], help="Name for the record. Default: this user.")]
Limit = Annotated[int, Parameter(help="Rows of a page, 1 to 10000.")]

_ONE_COIL = Group("Coil", validator=LimitedChoice(1, 1))


def history(config: Config, /) -> None:
    settings = load(config, HistorySettings)
    configure_logs(settings.log.level)
    with extra("history"):
        from linewatch.history.run import run_history

    run_history(settings)


def coils(
    *,
    coil: Annotated[str | None, Parameter(help="ID of one coil. Default: all coils.")] = None,
    limit: Limit = 100,
    after: Annotated[int | None, Parameter(help="Passage that ended the page before.")] = None,
    config: Config = HISTORY,
    as_json: AsJson = False,
) -> None:
    with extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.listing import coils_json, coils_table
        from linewatch.history.queries import coils, gaps

    with reading(load(config, HistorySettings).database) as connection:
        rows = coils(connection, None if coil is None else coil_named(coil), after=after, limit=_checked(limit))
        lost = gaps(connection)
    if as_json:
        print(coils_json(rows, lost))
    else:
        wide_console().print(coils_table(rows, lost))


def defects(
    *,
    coil: Annotated[
        str | None, Parameter(help="ID of a coil: its newest passage under each camera.", group=_ONE_COIL)
    ] = None,
    passage: Annotated[
        int | None, Parameter(help="One passage, as numbered by `linewatch coils`.", group=_ONE_COIL)
    ] = None,
    defect_class: Annotated[str | None, Parameter(name="--class", help="Only this class.")] = None,
    limit: Limit = 100,
    after: Annotated[int | None, Parameter(help="Defect that ended the page before.")] = None,
    images: Annotated[bool, Parameter(help="Show the image file of each defect, where [images] keeps one.")] = False,
    config: Config = HISTORY,
    as_json: AsJson = False,
) -> None:
    with extra("history"):
        from linewatch.history.archived_images import archived_images
        from linewatch.history.database import reading
        from linewatch.history.listing import defects_json, defects_table
        from linewatch.history.queries import defects, passages_of
        from linewatch.history.queries import passage as passage_row

    limit, settings = _checked(limit), load(config, HistorySettings)
    if images and settings.images is None:
        raise ConfigError(f"{config} keeps no images; add [images] there, and [crops] to the service")
    with reading(settings.database) as connection:
        if passage is not None:
            passages, older = [passage_row(connection, passage)], 0
        else:
            assert coil is not None
            passages, older = passages_of(connection, coil_named(coil))
        numbers = [row.passage for row in passages]
        rows = defects(connection, numbers, defect_class, after=after, limit=limit)
        shown = None
        if images and settings.images is not None:
            shown = dict[int, Path]()
            for number in numbers:
                named = {row.defect.id: row.number for row in rows if row.passage == number}
                found = archived_images(connection, settings.images.dir, number, named)
                shown |= {named[name]: image.path for name, image in found.items()}
    if as_json:
        print(defects_json(passages, older, rows, limit, shown))
    else:
        wide_console().print(defects_table(passages, older, rows, limit, shown))


def label(
    defect: Annotated[str, Parameter(help="Number of the defect, or its ID on the wire.")],
    verdict: Annotated[
        Literal["right", "wrong-class", "not-a-defect"], Parameter(help="wrong-class: --class names the right one.")
    ],
    /,
    *,
    right_class: Annotated[str | None, Parameter(name="--class", help="The right class.")] = None,
    who: Who = None,
    config: Config = HISTORY,
    as_json: AsJson = False,
) -> None:
    with extra("history"):
        from linewatch.history.database import write_once
        from linewatch.history.labels import LabelVerdict, label

    url = load(config, HistorySettings).database
    by = who or getpass.getuser()
    said = write_once(url, lambda connection: label(connection, defect, LabelVerdict(verdict), right_class, by))
    if as_json:
        print(json.dumps(asdict(said)))
    else:
        what = "right" if said.right_class == said.found_class else said.right_class or "not a defect"
        print(f"{said.name}: {said.found_class} is {what}, labelled by {said.who}")


def missed(
    passage: Annotated[int, Parameter(help="Number of the passage, as numbered by `linewatch coils`.")],
    /,
    *,
    right_class: Annotated[str, Parameter(name="--class", help="Class of the defect.")],
    across_mm: Annotated[tuple[float, float], Parameter(help="Where it begins and ends across the strip.")],
    along_mm: Annotated[tuple[float, float], Parameter(help="Where it begins and ends along the coil.")],
    who: Who = None,
    config: Config = HISTORY,
    as_json: AsJson = False,
) -> None:
    with extra("history"):
        from linewatch.history.database import write_once
        from linewatch.history.labels import missed

    url, box = load(config, HistorySettings).database, StripBox(across_mm, along_mm)
    by = who or getpass.getuser()
    said = write_once(url, lambda connection: missed(connection, passage, box, right_class, by))
    if as_json:
        print(json.dumps(asdict(said)))
    else:
        print(f"{said.name}: a {said.right_class} was missed, labelled by {said.who}")


def labels(
    action: Annotated[Literal["export"], Parameter(help="export: write every label to --out.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="File to write, .csv or .jsonl.")],
    config: Config = HISTORY,
    as_json: AsJson = False,
) -> None:
    with extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.labels import export_labels

    settings = load(config, HistorySettings)
    with reading(settings.database) as connection:
        count = export_labels(connection, out, settings.images.dir if settings.images else None)
    print(json.dumps({"path": str(out), "labels": count}) if as_json else f"{out}: {count} labels")


def _checked(limit: int) -> int:
    if not 1 <= limit <= 10_000:
        raise ConfigError(f"--limit is {limit}, expected 1 to 10000; --after gives the next page")
    return limit
