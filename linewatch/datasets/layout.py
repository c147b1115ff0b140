"""The elements of the adapters' layouts: tables, folders of images, boxes in Pascal VOC's XML."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.specimen import Knowledge, LabelBox, Specimen
from linewatch.pictures.reading import SUFFIXES


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with at least these columns; `DatasetError` if it cannot be read."""
    try:
        with path.open(newline="") as handle:
            reader = csv.DictReader(handle)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise DatasetError(
                    f"{path}: expected columns {', '.join(columns)}, found no {', '.join(sorted(missing))}"
                )
            return list(reader)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); point --data NAME=DIR at the set's own folder"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: expected a table in UTF-8, found {error.reason}; save it again as UTF-8"
        ) from error


def whole(path: Path, text: str | None) -> int:
    """Parse a whole number of pixels."""
    try:
        return int(text or "")
    except ValueError:
        raise DatasetError(f"{path}: expected a whole number of pixels, found {text!r}") from None


def images(folder: Path) -> list[Path]:
    """Return the images directly in a folder, sorted by name with numbers as numbers."""
    return sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=lambda path: natural(path.name)
    )


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts names with numbers as numbers."""
    digits, parts, current = "0123456789", [], ""
    for letter in name:
        if current and (letter in digits) != (current[-1] in digits):
            parts.append(current)
            current = ""
        current += letter
    parts.append(current)
    return tuple((0, int(part)) if part.isdigit() and part.isascii() else (1, part) for part in parts)


def labelled(data_set: str, path: Path, label: str, root: Path, group: str | None = None) -> Specimen:
    """Return an image of one label as a specimen; its name is its path below `root`."""
    return Specimen(
        data_set=data_set,
        file=path.relative_to(root).as_posix(),
        fold=None,
        knowledge=Knowledge.LABELLED,
        labels=(label,),
        path=path,
        group=group,
    )


def of_table(data_set: str, root: Path) -> list[Specimen]:
    """Read the plain layout: ``labels.csv`` (file,class) beside ``images/``."""
    return [
        Specimen(
            data_set=data_set,
            file=row["file"],
            fold=None,
            knowledge=Knowledge.LABELLED,
            labels=(row["class"],),
            path=root / "images" / row["file"],
        )
        for row in table(root / "labels.csv", "file", "class")
    ]


def folders_of(root: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the folders under `root` with one of these names; case, `-`, `_` and blanks do not matter."""
    there = {_plain(path.name): path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    return {name: there[_plain(name)] for name in names if _plain(name) in there}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def voc_boxes(path: Path) -> list[LabelBox]:
    """Return the boxes of a Pascal VOC annotation; VOC's last row and column belong to the box."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DatasetError(f"{path}: expected a Pascal VOC annotation, found {error}; restore the file") from error
    boxes = []
    for thing in root.iter("object"):
        box = thing.find("bndbox")
        if box is None:
            raise DatasetError(f"{path}: an object without bndbox; restore the file")
        x0, y0, x1, y1 = (whole(path, box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append(LabelBox((thing.findtext("name") or "").strip(), x0, y0, x1, y1))
    return boxes


def unknown_layout(name: str, root: Path, looked_for: Sequence[str]) -> DatasetError:
    """Return the error for a folder in which no layout of the set is found."""
    names = sorted(path.name for path in root.iterdir())[:8] if root.is_dir() else []
    held = ", ".join(names) or "nothing"
    return DatasetError(f"{root}: no layout of {name}; looked for {'; or '.join(looked_for)}; found {held}")
