"""YOLO as Ultralytics defines it: a text file of boxes or polygons for each image (https://docs.ultralytics.com).

The label file of `.../images/a.png` is `.../labels/a.txt`. A line is a class number and four numbers (middle, width and
height of a box), or the points of a polygon, all as shares of the image's size. An empty label file says that the image
is free of defects; that there is none says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import (
    Content,
    ImageMark,
    MarkedImage,
    files_below,
    named,
    pictures_below,
    read_text,
)
from linewatch.datasets.shapes import Bounds, Polygon
from linewatch.datasets.specimen import size_px

NAME = "yolo"
TREE = "data.yaml with names; images/ and labels/*.txt, also below train/, val/, test/ or with these below"

_NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "labels.txt", "obj.names")
_NUMBERS_OF_A_BOX = 4


def recognise(root: Path) -> str | None:
    files = _label_files(root)
    if not any(_is_label(file) for file in files):
        return None
    names = _names_file(root)
    return f"{names.name if names else 'no data.yaml'}, {named(_folders(root, files))} with rows of numbers"


def read(root: Path) -> Content:
    """Read the set; its parts are one set, which linewatch divides by itself."""
    content = Content(root)
    names = _names(root, content)
    labels = set(_label_files(root))
    mirrored = {Path(*_lower(file.relative_to(root).parts[:-1]), file.name): file for file in labels}
    parts = _folders(root, labels)
    if len(parts) > 1:
        content.note_parts(named(parts))
    for path in pictures_below(root, without=("labels",)):
        places = mirrored.get(_mirrored(path, root)), path.with_suffix(".txt")
        file = next((file for file in places if file in labels), None)
        if file is not None:
            labels.discard(file)
            content.images.append(MarkedImage(path, marks=_marks(file, path, names, content)))
    for file in sorted(labels):
        content.problem(file, "there is no image of this label file; restore the image or take the file away")
    used = {mark.label for one in content.images for mark in one.marks}
    for name in names.values():
        if name not in used:
            content.note("names without a label, which are no classes", name)
    return content


def _folders(root: Path, files: Iterable[Path]) -> list[str]:
    return sorted({f"{file.parent.relative_to(root).as_posix()}/" for file in files})


def _label_files(root: Path) -> list[Path]:
    """Return the text files below a folder called labels, and those beside an image of their name."""
    beside = {path.with_suffix(".txt") for path in pictures_below(root)}
    return [
        file
        for file in files_below(root, (".txt",))
        if file.name not in _NAME_FILES and ("labels" in _lower(file.relative_to(root).parts[:-1]) or file in beside)
    ]


def _is_label(file: Path) -> bool:
    words = file.read_text(encoding="utf-8-sig", errors="replace").split("\n", 1)[0].split()
    return len(words) > _NUMBERS_OF_A_BOX and words[0].removesuffix(".0").isdigit()


def _mirrored(image: Path, root: Path) -> Path:
    """Return the path of an image below root with labels/ in the place of images/, all folders in lower case."""
    parts = _lower(image.relative_to(root).parts[:-1])
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    else:
        parts = ["labels", *parts]
    return Path(*parts, f"{image.stem}.txt")


def _lower(parts: Iterable[str]) -> list[str]:
    return [part.lower() for part in parts]


def _names_file(root: Path) -> Path | None:
    holding = dict.fromkeys(file.parent for file in _label_files(root))
    above = (folder for one in holding for folder in (one, *one.parents) if folder.is_relative_to(root))
    folders = dict.fromkeys([root, *above])
    places = [folder / name for folder in folders for name in _NAME_FILES]
    listed = [path for path in places if path.is_file()] + sorted(root.glob("*.y*ml"))
    different = [path for path in listed[1:] if path.name == listed[0].name and read_text(path) != read_text(listed[0])]
    if different:
        raise DatasetError(f"{different[0]}: names other classes than {listed[0]}; expected one list for all labels")
    return listed[0] if listed else None


def _names(root: Path, content: Content) -> dict[int, str]:
    """Return the class names by their number, and note parts of the set that lie elsewhere."""
    file = _names_file(root)
    if file is None:
        raise DatasetError(
            f"{root}: labels/ holds class numbers, but nothing names them; add a data.yaml with names: [...]"
        )
    text = read_text(file)
    if file.suffix not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DatasetError(f"{file}: expected YAML, found {' '.join(str(error).split())}; restore the file") from error
    described: dict[str, Any] = data if isinstance(data, dict) else {}
    if "kpt_shape" in described:
        raise DatasetError(f"{file}: describes key points (kpt_shape), expected boxes or polygons of defects")
    _note_parts_elsewhere(root, described, content)
    names: Any = described.get("names")
    try:
        found = dict(enumerate(names)) if isinstance(names, list) else {int(k): v for k, v in names.items()}
    except (AttributeError, TypeError, ValueError):
        found = {}
    if not found or not all(isinstance(name, str | int | float) for name in found.values()):
        raise DatasetError(f"{file}: expected names, a list or numbers with names, found none; add them")
    if words := [str(name).lower() for name in found.values() if isinstance(name, bool)]:
        raise DatasetError(f"{file}: expected names, found the YAML word for {named(words)}; put the name in quotes")
    return {number: str(name) for number, name in found.items()}


def _note_parts_elsewhere(root: Path, described: Mapping[str, Any], content: Content) -> None:
    """Note the folders that data.yaml names and that exist, but not below the root: they are not read."""
    base = root / str(described.get("path") or "")
    parts = [described.get(part) for part in ("train", "val", "test")]
    for part in (one for each in parts for one in (each if isinstance(each, list) else [each])):
        if isinstance(part, str):
            there = base / part
            if there.exists() and not there.resolve().is_relative_to(root.resolve()):
                content.note("parts that data.yaml names outside of this folder, which are not read", part)


def _marks(file: Path, image: Path, names: Mapping[int, str], content: Content) -> tuple[ImageMark, ...]:
    found: list[ImageMark] = []
    seen: set[str] = set()
    lines, width = size_px(image) or (1, 1)  # a picture that does not decode is reported by the check
    for row, text in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not text.strip():
            continue
        if text.strip() in seen:
            content.note("label lines written twice, which count once", f"{file.name} line {row}")
            continue
        seen.add(text.strip())
        try:
            found.append(_mark(text.split(), names, lines, width))
        except DatasetError as error:
            content.problem(file, f"line {row}: {error}")
    return tuple(found)


def _mark(words: list[str], names: Mapping[int, str], lines: int, width: int) -> ImageMark:
    try:
        number, values = int(words[0].removesuffix(".0")), [float(word) for word in words[1:]]
    except ValueError:
        raise DatasetError(f"{' '.join(words)[:40]!r}, expected a class number and shares of the size") from None
    if number not in names:
        raise DatasetError(f"class {number}, expected 0 to {max(names, default=0)} of the names; correct it or name it")
    if max(values, default=0) > 2:
        raise DatasetError(f"{max(values):g} is in pixels, expected shares of the image's size, 0 to 1")
    if len(values) == _NUMBERS_OF_A_BOX:
        x, y, w, h = values
        return ImageMark(
            names[number],
            box=Bounds((x - w / 2) * width, (y - h / 2) * lines, (x + w / 2) * width, (y + h / 2) * lines),
        )
    if len(values) < 6 or len(values) % 2:
        raise DatasetError(f"{len(values)} numbers after the class, expected 4 of a box or 6 and more of a polygon")
    scaled = tuple(value * (width, lines)[at % 2] for at, value in enumerate(values))
    return ImageMark(names[number], shape=Polygon((scaled,)))
