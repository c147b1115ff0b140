"""The report of what a new second stage would have changed: figures, a table, and pictures that the history keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import cv2
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from linewatch.files import write_file
from linewatch.history.archived_images import archived_images
from linewatch.learning.what_changes import Changes, Judgement
from linewatch.spreadsheet import csv_text

REPORT, TABLE, SHEET = "report.json", "changed.csv", "changed.png"
MOST_PICTURES = 60
_TILE_PX, _CAPTION_PX, _IN_A_ROW = 160, 34, 6


def write_report(folder: Path, changes: Changes, connection: sa.Connection, images: Path | None) -> list[Path]:
    """Write the report into a folder; return its files. images: the history's archive; None: it keeps none.

    `report.json` has every figure, `changed.csv` a row for each defect that changed, and `changed.png` the pictures of
    the first sixty of them, those whose probability changed most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = sorted((one for one in changes.judgements if one.changed), key=lambda one: -abs(one.after - one.before))
    names = [field.name for field in fields(Judgement)]
    table = csv_text(names, (asdict(one).values() for one in changed))
    write_file(folder / REPORT, (json.dumps(changes.as_json(), indent=1) + "\n").encode())
    write_file(folder / TABLE, table.encode())
    written = [folder / REPORT, folder / TABLE]
    shown = list(_pictures(changed, connection, images)) if images is not None else []
    if shown:
        _, packed = cv2.imencode(".png", _sheet(shown))
        write_file(folder / SHEET, packed.tobytes())
        written.append(folder / SHEET)
    return written


def _pictures(
    changed: Sequence[Judgement], connection: sa.Connection, images: Path
) -> Iterator[tuple[Judgement, NDArray[np.uint8]]]:
    count = 0
    for one in changed:
        image = archived_images(connection, images, one.passage, [one.name]).get(one.name)
        if image is not None and (gray := image.read()) is not None:
            yield one, gray
            count += 1
        if count == MOST_PICTURES:
            return


def _sheet(shown: Sequence[tuple[Judgement, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    rows = -(-len(shown) // _IN_A_ROW)
    columns = min(len(shown), _IN_A_ROW)
    sheet = np.full((rows * (_TILE_PX + _CAPTION_PX), columns * _TILE_PX), 255, np.uint8)
    for number, (one, gray) in enumerate(shown):
        top, left = number // _IN_A_ROW * (_TILE_PX + _CAPTION_PX), number % _IN_A_ROW * _TILE_PX
        scale = (_TILE_PX - 4) / max(gray.shape)
        size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
        sheet[top : top + size[1], left : left + size[0]] = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        for line, text in enumerate(
            (f"{one.defect_class} {one.before:.2f} to {one.after:.2f}", f"#{one.defect}, now {one.stands}")
        ):
            at = left, top + _TILE_PX + 10 + 14 * line
            cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.35, 0, 1, cv2.LINE_AA)
    return sheet
