"""COCO: one JSON file with `images`, `annotations` and `categories` (Lin et al. 2014; https://cocodataset.org).

Outlines are polygons or run lengths, plain or compressed. An annotation without an outline is a box. A crowd region is
an outline like any other here: its area shows the class. An image that the file lists without annotations is free of
defects.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import (
    Content,
    ImageFinder,
    ImageMark,
    MarkedImage,
    files_below,
    named,
    named_below,
    stated_size,
)
from linewatch.datasets.shapes import Bounds, Polygon, Runs, Shape, decode_coco_counts

NAME = "coco"
TREE = "a .json with images, annotations and categories, in any folder, as the images"

_KEYS = ("images", "annotations", "categories")
_HEAD = 4096


def recognise(root: Path) -> str | None:
    files = _files(root)
    return f"{named_below(root, files)} with {', '.join(_KEYS)}" if files else None


def read(root: Path) -> Content:
    """Read the set; several files, such as those of a training and a validation part, are one set."""
    content, files = Content(root), _files(root)
    if not files:
        raise DatasetError(f"{root}: expected a .json with {', '.join(_KEYS)}, found none; name another layout")
    if len(files) > 1:
        content.note_parts(named_below(root, files))
    finder = ImageFinder(content)
    for file in files:
        _read_file(file, content, finder)
    return content


def _files(root: Path) -> list[Path]:
    """Return the COCO files, in whatever folder they are."""
    found = []
    for file in files_below(root, (".json",)):
        with file.open(encoding="utf-8-sig", errors="replace") as handle:
            text = handle.read(_HEAD)
            if '"shapes"' in text:  # labelme's, which are many and large
                continue
            text += handle.read()
        if '"images"' in text and '"annotations"' in text:
            found.append(file)
    return found


def _read_file(file: Path, content: Content, finder: ImageFinder) -> None:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: expected JSON, found {error}; restore the file") from error
    lists: dict[str, Any] = {key: data.get(key) for key in _KEYS} if isinstance(data, dict) else {}
    if not lists or not all(isinstance(each, list) for each in lists.values()):
        raise DatasetError(f"{file}: expected the lists {', '.join(_KEYS)}, as COCO defines them")
    names = _categories(file, lists["categories"])
    known = set(_numbers(file, lists["images"], "images"))
    marks: dict[Any, list[ImageMark]] = defaultdict(list)
    for annotation in lists["annotations"]:
        one = annotation if isinstance(annotation, dict) else {}
        where = f"annotation {one.get('id')}"
        if not isinstance(one.get("image_id"), int | str) or one["image_id"] not in known:
            content.problem(file, f"{where} is of image {one.get('image_id')!r}, which the file does not list")
        elif not isinstance(one.get("category_id"), int | str) or one["category_id"] not in names:
            content.problem(
                file,
                f"{where} has category {one.get('category_id')!r}, expected one of {_shown(names)}; "
                "correct it or add the category",
            )
        else:
            try:
                marks[one["image_id"]].append(_mark(names[one["category_id"]], one))
            except (DatasetError, TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
                content.problem(file, f"{where} cannot be read: {error}")
            if one.get("iscrowd"):
                content.note("crowd regions, taken as areas of their class", f"{where} of {file.name}")
    # instances_train.json is of the images in train/, also where val/ has their names.
    part = file.stem.rpartition("_")[2]
    parts = content.root / "images" / part, content.root / part
    folders = file.parent / "images", file.parent, *parts, content.root / "images", content.root
    for image in lists["images"]:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            content.problem(file, f"image {image!r:.60} has no file_name")
            continue
        content.images.append(
            MarkedImage(
                finder.find(image["file_name"], *folders),
                marks=tuple(marks.get(image.get("id"), ())),
                stated_px=_size(image),
            )
        )
    used = {mark.label for each in marks.values() for mark in each}
    for name in names.values():
        if name not in used:
            content.note("categories without an annotation, which are no classes", f"{name} of {file.name}")


def _categories(file: Path, categories: list[Any]) -> dict[Any, str]:
    numbers = _numbers(file, categories, "categories")
    names = [one.get("name") for one in categories]
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{file}: expected a text as name of each category, found {names!r:.80}; name the class")
    return dict(zip(numbers, names, strict=True))


def _numbers(file: Path, listed: list[Any], what: str) -> list[int | str]:
    """Return the ids of a list, each of which must be there once: marks would go to another image or class."""
    numbers = [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), int | str)]
    if len(numbers) < len(listed):
        raise DatasetError(f"{file}: expected an id for each of the {what}, a number or a text; export it again")
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise DatasetError(f"{file}: {what} have the same id: {named(map(str, twice))}; expected one for each")
    return numbers


def _shown(names: dict[Any, str]) -> str:
    return named(f"{number!r} ({name})" for number, name in names.items())


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    lines, width = image.get("height"), image.get("width")
    return stated_size(lines, width)


def _mark(label: str, annotation: dict[str, Any]) -> ImageMark:
    """Return the mark of an annotation: its outline, or its box where it has none."""
    outline = annotation.get("segmentation")
    if outline and outline != [[]]:  # some exporters of boxes write an empty polygon
        return ImageMark(label, shape=_shape(outline))
    if "bbox" not in annotation:
        return ImageMark(label)
    x, y, width, height = (float(value) for value in annotation["bbox"])
    return ImageMark(label, box=Bounds(x, y, x + width, y + height))


def _shape(outline: Any) -> Shape:
    if isinstance(outline, dict):
        lines, width = (int(value) for value in outline["size"])
        counts = outline["counts"]
        return Runs(decode_coco_counts(counts) if isinstance(counts, str) else tuple(map(int, counts)), lines, width)
    rings = [outline] if isinstance(outline[0], int | float) else outline
    if any(len(ring) < 6 or len(ring) % 2 for ring in rings):
        raise DatasetError("a polygon needs three points or more, each with x and y")
    return Polygon(tuple(tuple(float(value) for value in ring) for ring in rings))
