"""labelme: a JSON file for each image, with polygons, boxes, circles or masks (https://labelme.io).

The image lies beside its file, or is inside it as `imageData`. A true entry in `flags` is a class of the whole image. A
file without shapes says that its image is free of defects; an image without a file says nothing.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import (
    Content,
    ImageFinder,
    ImageMark,
    MarkedImage,
    files_below,
    named_below,
    stated_size,
)
from linewatch.datasets.shapes import Bounds, Polygon, runs_of

NAME = "labelme"
TREE = "NAME.json with shapes beside each image, or in a folder of its own"

_CIRCLE_POINTS = 64
_HEAD = 65536


def recognise(root: Path) -> str | None:
    files = _files(root)
    return f"{named_below(root, files)} with shapes" if files else None


def read(root: Path) -> Content:
    """Read every image that has a file."""
    content = Content(root)
    finder = ImageFinder(content)
    found: dict[Path, MarkedImage] = {}
    for file in _files(root):
        try:
            one = _annotated(file, finder, content)
        except DatasetError as error:
            content.problem(file, str(error))
            continue
        if one.path in found:
            content.problem(file, f"{one.path.name} has another file as well; take one of them away")
        found[one.path] = one
    content.images += found.values()
    return content


def _files(root: Path) -> list[Path]:
    def holds_shapes(file: Path) -> bool:
        with file.open(encoding="utf-8-sig", errors="replace") as handle:
            text = handle.read(_HEAD)
        return '"shapes"' in text and any(key in text for key in ('"version"', '"imagePath"', '"flags"'))

    return [file for file in files_below(root, (".json",)) if holds_shapes(file)]


def _annotated(file: Path, finder: ImageFinder, content: Content) -> MarkedImage:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
        shapes, flags = list(data["shapes"]), dict(data.get("flags") or {})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"expected a file of labelme with shapes, found {error}; restore it") from error
    path = finder.find(str(data.get("imagePath") or file.stem), file.parent, content.root)
    if not path.is_file():
        path = finder.find(file.stem, file.parent)
    if not path.is_file() and data.get("imageData"):
        content.note("images inside their .json", file.name)
        path = file
    marks = []
    for place, shape in enumerate(shapes, 1):
        try:
            marks.append(_mark(shape))
        except (DatasetError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            content.problem(file, f"shape {place} cannot be read: {error}")
    return MarkedImage(
        path,
        labels=tuple(str(name) for name, value in flags.items() if value is True),
        marks=tuple(marks),
        stated_px=stated_size(data.get("imageHeight"), data.get("imageWidth")),
    )


def _mark(shape: dict[str, Any]) -> ImageMark:
    label, kind = shape["label"], shape.get("shape_type") or "polygon"
    if not isinstance(label, str):
        raise DatasetError(f"its label is {label!r}, expected the name of a class")
    points = np.array(shape["points"], float).reshape(-1, 2)
    if kind == "polygon" and len(points) > 2:
        return ImageMark(label, shape=Polygon((tuple(points.ravel().tolist()),)))
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
        return ImageMark(label, box=Bounds(x0, y0, x1, y1))
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        turn = np.linspace(0, 2 * np.pi, _CIRCLE_POINTS, endpoint=False)
        ring = points[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        return ImageMark(label, shape=Polygon((tuple(ring.ravel().tolist()),)))
    if kind == "mask":
        drawn = cv2.imdecode(np.frombuffer(base64.b64decode(shape["mask"]), np.uint8), cv2.IMREAD_GRAYSCALE)
        if drawn is None:
            raise DatasetError("its mask does not decode")
        x0, y0 = (round(value) for value in points[0].tolist())
        return ImageMark(label, shape=runs_of(drawn > 0, x0, y0))
    raise DatasetError(f"a {kind} of {len(points)} points has no area; draw a polygon, a rectangle or a mask")
