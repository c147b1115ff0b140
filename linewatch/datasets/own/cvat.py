"""CVAT for images 1.1: one XML file with an element for each image (https://docs.cvat.ai/docs/other/xml_format).

Boxes, polygons and masks are marks, tags are classes of the whole image. An image that the file lists without any is
free of defects.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import Content, ImageFinder, ImageMark, MarkedImage, named_below
from linewatch.datasets.own.xml import number, read_xml
from linewatch.datasets.shapes import Bounds, Polygon, Runs

NAME = "cvat"
TREE = "annotations.xml with <annotations> of <image>s; images in images/"

_ANNOTATIONS = re.compile(rb"<annotations[\s>]")


def recognise(root: Path) -> str | None:
    files = _files(root)
    return f"{named_below(root, files)} with <annotations>" if files else None


def read(root: Path) -> Content:
    content, files = Content(root), _files(root)
    if not files:
        raise DatasetError(f"{root}: expected an .xml with <annotations>, found none; name another layout")
    finder, found = ImageFinder(content), {}
    for file in files:
        tree = read_xml(file, "CVAT's annotations of images")
        if tree.find("track") is not None:
            raise DatasetError(f"{file}: holds tracks of a video; export it as `CVAT for images 1.1`")
        for element in tree.iter("image"):
            name = element.get("name", "")
            path = finder.find(name, file.parent / "images", file.parent, content.root / "images", content.root)
            if path in found:
                content.problem(file, f"{name} is listed twice; take one of them away")
            found[path] = _image(element, path, file, content)
    content.images += found.values()
    return content


def _files(root: Path) -> list[Path]:
    def holds_annotations(file: Path) -> bool:
        with file.open("rb") as handle:
            return _ANNOTATIONS.search(handle.read(4096)) is not None

    places = [*sorted(root.glob("*.xml")), *sorted(root.glob("*/*.xml"))]
    return [file for file in places if holds_annotations(file)]


def _image(element: ElementTree.Element, path: Path, file: Path, content: Content) -> MarkedImage:
    marks, labels = [], []
    for child in element:
        label = child.get("label", "")
        if child.tag == "tag":
            labels.append(label)
            continue
        try:
            marks.append(_mark(child, label))
        except DatasetError as error:
            content.problem(file, f"image {element.get('name')}, {label}: {error}")
    try:
        stated = int(number(element, "height")), int(number(element, "width"))
    except DatasetError:
        stated = None
    return MarkedImage(path, labels=tuple(labels), marks=tuple(marks), stated_px=stated)


def _mark(element: ElementTree.Element, label: str) -> ImageMark:
    if element.tag == "box":
        if element.get("rotation") and number(element, "rotation"):
            raise DatasetError("a turned box is not read; draw it as a polygon")
        return ImageMark(label, box=Bounds(*(number(element, side) for side in ("xtl", "ytl", "xbr", "ybr"))))
    if element.tag == "polygon":
        try:
            values = [float(value) for point in element.get("points", "").split(";") for value in point.split(",")]
        except ValueError:
            raise DatasetError(f"points {element.get('points')!r:.40}, expected x,y;x,y;...") from None
        if len(values) < 6 or len(values) % 2:
            raise DatasetError(f"a polygon of {len(values) / 2:g} points, expected three or more")
        return ImageMark(label, shape=Polygon((tuple(values),)))
    if element.tag == "mask":
        try:
            counts = tuple(int(count) for count in element.get("rle", "").split(","))
        except ValueError:
            raise DatasetError(f"run lengths {element.get('rle')!r:.40}, expected whole numbers") from None
        x0, y0, width, lines = (int(number(element, side)) for side in ("left", "top", "width", "height"))
        return ImageMark(label, shape=Runs(counts, lines, width, x0, y0, by_columns=False))
    raise DatasetError(f"<{element.tag}> has no area; draw a box, a polygon or a mask")
