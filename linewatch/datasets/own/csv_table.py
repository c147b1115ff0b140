"""A table: a row for each image and class, a box, or a run-length code; with `images/` and perhaps `masks/`.

Separated by commas, semicolons or tabs; in UTF-8 or UTF-16, with or without a byte order mark. Column names are looked
for in any case, and by the names that people use. With `masks/`, an image's mask `NAME.png` is nonzero on its class.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import (
    Content,
    ImageFinder,
    ImageMark,
    MarkedImage,
    named,
    named_below,
    pictures_below,
)
from linewatch.datasets.shapes import Bounds, KaggleRuns

NAME = "csv"
TREE = "labels.csv (file,class; perhaps xmin,ymin,xmax,ymax or EncodedPixels), images/, perhaps masks/"

_FILE = ("file", "filename", "file_name", "image", "imageid", "image_id", "image_name", "path", "image_path", "picture")
_CLASS = ("class", "label", "classname", "class_name", "classid", "class_id", "category", "defect", "defect_class")
_RUNS = ("encodedpixels", "rle", "runs")
_SIDES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))
_SEPARATORS = ",;\t"
_SUFFIXES = (".csv", ".tsv")
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false", "")


@dataclass(frozen=True)
class _Columns:
    """The names of a table's columns; no `label` where a column per class holds 0 or 1."""

    file: str
    label: str | None
    sides: tuple[str, ...] = ()
    runs: str | None = None
    one_hot: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str | None, ...]:
        return (self.file, self.label, *self.sides, self.runs, *self.one_hot)


def recognise(root: Path) -> str | None:
    files = _table_files(root)
    return f"{named_below(root, files)} with a column of files" if files else None


def read(root: Path) -> Content:
    """Read the table of the set; the tables of its parts, such as train/ and valid/, are one set."""
    content, files = Content(root), _table_files(root)
    if not files:
        raise DatasetError(f"{root}: expected labels.csv with columns file,class; found none")
    if len(files) > 1:
        content.note_parts(named_below(root, files))
    others = [path.name for path in sorted(root.iterdir()) if path.suffix.lower() in _SUFFIXES and path not in files]
    if others:
        content.note(f"tables that are not read: {named(others)}")
    masks = root / "masks"
    content.masks |= set(pictures_below(masks)) if masks.is_dir() else set()
    images: dict[Path, tuple[list[str], list[ImageMark]]] = defaultdict(lambda: ([], []))
    for file in files:
        _add_table(file, images, content)
    by_mask = defaultdict(list)
    for path, (labels, marks) in images.items():
        mask = masks / f"{path.stem}.png" if masks.is_dir() and not marks else None
        if mask is not None:
            by_mask[mask].append(path.name)
        content.images.append(MarkedImage(path, labels=tuple(labels), marks=tuple(marks), mask_path=mask))
    for mask, names in by_mask.items():
        if len(names) > 1:
            content.problem(mask, f"is the mask of {named(names)}; give the images names of their own")
    for mask in sorted(content.masks - set(by_mask)):
        content.problem(mask, "no row names the image of this mask; add the row or take the mask away")
    return content


def _table_files(root: Path) -> list[Path]:
    """Return the table of the folder, or those of its subfolders where it has none itself."""
    own = _table_file(root)
    below = [path for path in sorted(root.glob("*/")) if path.is_dir() and not path.name.startswith(".")]
    return [own] if own else [table for table in map(_table_file, below) if table is not None]


def _table_file(root: Path) -> Path | None:
    """Return labels.csv, or the one table of the folder that has a column of files and one of classes."""
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    if not root.is_dir():
        return None
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    named_so = [path for path in files if path.stem.lower() == "labels"]
    fitting = [path for path in named_so or files if _columns(*read_rows(path)) is not None]
    if len(fitting) > 1:
        raise DatasetError(f"{root}: {named(path.name for path in fitting)} are tables of images; leave only one here")
    return fitting[0] if fitting else None


def read_rows(file: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows and the header of a table, every name in lower case, without blanks around cells.

    `DatasetError` if it cannot be read.
    """
    try:
        data = file.read_bytes()
        with_mark = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = data.decode("utf-16-le" if data[1:2] == b"\0" else with_mark)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{file}: expected a table in UTF-8, found {error.reason}; save it again as UTF-8"
        ) from error
    text = re.sub(r"\r\n?", "\n", text)
    if text[:4].lower() == "sep=":  # Excel's first line
        text = text.partition("\n")[2]
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise DatasetError(f"{file}: expected a table, found {error} in line {reader.line_num}") from error
    header = [name.lower() for name in lines[0]] if lines else []
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        if len(line) > len(header):
            raise DatasetError(f"{file}: row {number} has {len(line)} cells, expected {len(header)}; quote its text")
        rows.append(dict(zip(header, line + [""] * (len(header) - len(line)), strict=True)))
    return rows, header


def _columns(rows: list[dict[str, str]], header: list[str]) -> _Columns | None:
    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in header), None)

    file, label, runs = first(_FILE), first(_CLASS), first(_RUNS)
    if file is None and "imageid_classid" in header:
        return _Columns("imageid_classid", None, runs=runs)
    if file is None:
        return None
    sides = next((sides for sides in _SIDES if all(side in header for side in sides)), ())
    if label is not None:
        return _Columns(file, label, sides, runs)
    others = tuple(name for name in header if name not in (file, "width", "height", ""))
    one_hot = all(row[name].lower() in (*_YES, *_NO) for row in rows for name in others)
    return _Columns(file, None, one_hot=others) if others and rows and one_hot else None


def _add_table(file: Path, found: dict[Path, tuple[list[str], list[ImageMark]]], content: Content) -> None:
    """Add the images of a table with their labels and marks."""
    rows, header = read_rows(file)
    columns = _columns(rows, header)
    if columns is None:
        raise DatasetError(
            f"{file}: expected columns file and class (or image, path, label, category ...), separated by commas, "
            f"semicolons or tabs; found {', '.join(header) or 'none'}"
        )
    unread = [name for name in header if name not in (*columns.all, "", "id", "width", "height")]
    if unread:
        content.note(f"columns that are not read: {named(unread)}")
    folders = [*([file.parent] if file.parent != content.root else []), *_folders(content.root)]
    finder = ImageFinder(content)
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, 2):
        name, label = row[columns.file], row[columns.label] if columns.label else ""
        if columns.file == "imageid_classid":
            name, _, label = name.rpartition("_")
        if not name:
            content.problem(file, f"row {number} names no file")
            continue
        path = finder.find(name, *folders)
        labels, marks = found[path]
        if tuple(row.values()) in seen:
            content.note("rows written twice, which count once", f"row {number}, {name}")
            continue
        seen.add(tuple(row.values()))
        try:
            _add(row, columns, label, labels, marks)
        except DatasetError as error:
            content.problem(file, f"row {number}, {name}: {error}")
        if len(labels) > 1 and not columns.one_hot:
            content.note("images with rows of several classes, taken as showing them all", name)


def _folders(root: Path) -> list[Path]:
    """Return where a table's files are looked for: images/ first, as the folder's own layout says."""
    others = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower() not in ("images", "masks")]
    return [root / "images", root, *others]


def _add(row: dict[str, str], columns: _Columns, label: str, labels: list[str], marks: list[ImageMark]) -> None:
    if label.startswith(("{", "[{")):
        raise DatasetError(f"{label:.40}... is an annotation in JSON, expected a class; export it as COCO or YOLO")
    if columns.one_hot:
        labels += [name for name in columns.one_hot if row[name].lower() in _YES]
    elif columns.runs:
        if row[columns.runs]:
            marks.append(ImageMark(label, shape=KaggleRuns(row[columns.runs])))
    elif columns.sides and any(row[side] for side in columns.sides):
        try:
            sides = (float(row[side].replace(",", ".")) for side in columns.sides)  # with a decimal comma, too
            marks.append(ImageMark(label, box=Bounds(*sides)))
        except ValueError:
            raise DatasetError(f"expected numbers of pixels in {', '.join(columns.sides)}") from None
    elif not label and not columns.sides:
        raise DatasetError("names no class")
    elif label and label not in labels:
        labels.append(label)
