"""Pascal VOC: `Annotations/*.xml` with boxes, `JPEGImages/`, `SegmentationClass/*.png` (Everingham et al. 2010).

Many tools write the same .xml files elsewhere: beside the images, or in `train/annotations/`.

A mask holds class numbers, drawn in the colours of a palette. `labelmap.txt` (as CVAT writes it) names the colours,
`class_names.txt` (as labelme writes it) the numbers. An image with a mask is read from its mask, which says more than
its boxes. `ImageSets/` divides the set into parts; linewatch divides it by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import folders_of
from linewatch.datasets.own.content import (
    MASK_FOLDERS,
    Content,
    ImageFinder,
    ImageMark,
    MarkedImage,
    files_below,
    named,
    pictures_below,
    read_text,
)
from linewatch.datasets.own.xml import read_xml
from linewatch.datasets.shapes import Bounds

NAME = "voc"
TREE = "*.xml with <annotation>, in Annotations/ or beside the images; or SegmentationClass/*.png with labelmap.txt"

_ANNOTATION = re.compile(rb"<annotation[\s>]")
_BACKGROUND = ("background", "_background_", "__ignore__", "void", "ignored")
_VOID = {255, 0xE0E0C0, 0xFFFFFF}
"""The border around objects: number 255, or its colour."""


@dataclass(frozen=True, slots=True)
class MaskArea:
    """The area of one value in a mask file: a class number, or a colour 0xRRGGBB."""

    path: Path
    value: int
    by_colour: bool

    def bounds(self) -> Bounds | None:
        return None

    def pixels(self, lines: int, width: int) -> NDArray[np.bool_]:
        found = _values(self.path, self.by_colour)
        if found.shape != (lines, width):
            raise DatasetError(
                f"{self.path.name} is a mask of {found.shape[1]} x {found.shape[0]} for an image of {width} x {lines}; "
                "not its mask"
            )
        return found == self.value


def recognise(root: Path) -> str | None:
    folders = folders_of(_inner(root), ("segmentationclass",))
    for file in _annotations(root):
        return f"{file.relative_to(root).as_posix()} with <annotation>"
    masks = folders.get("segmentationclass")
    return f"{masks.relative_to(root).as_posix()}/" if masks and pictures_below(masks) else None


def read(root: Path) -> Content:
    """Read every image of JPEGImages/, and every other one that an annotation names."""
    content, inner = Content(root), _inner(root)
    folders = folders_of(inner, ("annotations", "jpegimages", "images", "segmentationclass", "segmentationobject"))
    folders.setdefault("annotations", root)
    for name in ("segmentationclass", "segmentationobject"):
        content.masks |= set(pictures_below(folders[name])) if name in folders else set()
    held = [folders[name] for name in ("jpegimages", "images") if name in folders] or [inner]
    found = _annotated_images(folders, held, content)
    for path in (path for folder in held for path in pictures_below(folder, MASK_FOLDERS)):
        if path not in content.masks:
            found.setdefault(path, MarkedImage(path, looked_at=False))
    _check_parts(inner, {path.stem for path in found}, content)
    masks = {path.stem: path for path in sorted(content.masks) if path.parent == folders.get("segmentationclass")}
    names = _MaskNames.of(inner) if masks else None
    for image in found.values():
        one = image
        mask = masks.pop(one.path.stem, None)
        if mask is not None and names is not None:
            one = replace(one, marks=names.marks(one, mask, content), looked_at=True)
        content.images.append(one)
    for mask in masks.values():
        content.problem(mask, "there is no image of this mask; restore the image or take the mask away")
    return content


def _inner(root: Path) -> Path:
    """Return the folder that holds Annotations/: the root, or one as VOCdevkit/VOC2012 below it."""
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        if folders_of(folder, ("jpegimages", "segmentationclass")):
            return folder
    return root


def _annotations(folder: Path) -> Iterator[Path]:
    for file in files_below(folder, (".xml",)):
        with file.open("rb") as handle:
            if _ANNOTATION.search(handle.read(4096)):
                yield file


def _annotated_images(folders: dict[str, Path], held: list[Path], content: Content) -> dict[Path, MarkedImage]:
    found: dict[Path, MarkedImage] = {}
    finder = ImageFinder(content)
    files = list(_annotations(folders["annotations"]))
    others = files_below(folders["annotations"], (".xml",)) if folders["annotations"] != content.root else []
    for file in sorted(set(others) - set(files)):
        content.problem(file, "expected a Pascal VOC annotation; restore the file or take it away")
    for file in files:
        try:
            one = _annotated(file, finder, held, content)
        except DatasetError as error:
            content.problem(file, str(error).removeprefix(f"{file}: "))
            continue
        if one.path in found:
            content.problem(file, f"{one.path.name} has another annotation as well; take one of them away")
        found[one.path] = one
    return found


def _annotated(file: Path, finder: ImageFinder, held: list[Path], content: Content) -> MarkedImage:
    """Return the image of an annotation: the one of the file's name, else the one that is named inside."""
    root = read_xml(file, "a Pascal VOC annotation")
    path = finder.find(file.stem, *held)
    if not path.is_file():
        path = finder.find(root.findtext("filename") or file.stem, *held)
    marks = []
    for place, thing in enumerate(root.iter("object"), 1):
        try:
            marks.append(_mark(thing))
        except DatasetError as error:
            content.problem(file, f"object {place}: {error}")
    size = [root.findtext(f"size/{side}") or "" for side in ("height", "width")]
    stated = (int(size[0]), int(size[1])) if all(text.strip().isdigit() and int(text) for text in size) else None
    return MarkedImage(path, marks=tuple(marks), stated_px=stated)


def _mark(thing: ElementTree.Element) -> ImageMark:
    box, sides = thing.find("bndbox"), []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        text = (box.findtext(side) if box is not None else None) or ""
        try:
            sides.append(float(text))
        except ValueError:
            raise DatasetError(f"{side} is {text!r}, expected a number of pixels in <bndbox>") from None
    return ImageMark(thing.findtext("name") or "", box=Bounds(*sides))


def _check_parts(inner: Path, stems: set[str], content: Content) -> None:
    """Note the parts of ImageSets/, and report images that they name and that are not there."""
    files = files_below(inner / "ImageSets", (".txt",))
    if files:
        content.note(f"{named(file.name for file in files)} of ImageSets/ are read as one set, which linewatch divides")
    for file in files:
        rows = [line.split() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
        gone = [row[0] for row in rows if row and Path(row[0]).stem not in stems and row[0] not in stems]
        if gone:
            content.problem(
                file,
                f"names images that are not there: {len(gone)} ({named(gone)}); restore them or take their rows out",
            )


@dataclass(frozen=True)
class _MaskNames:
    """The names of the values in a set's masks; without any, a mask shows the one class of its image's boxes."""

    source: str
    names: dict[int, str]
    by_colour: bool

    @classmethod
    def of(cls, inner: Path) -> _MaskNames:
        colours, numbers = inner / "labelmap.txt", inner / "class_names.txt"
        if colours.is_file():
            rows = [line.split(":") for line in _lines(colours) if not line.startswith("#")]
            try:
                triples = {row[0].strip(): tuple(int(part) for part in row[1].split(",")) for row in rows}
                named_colours = {(r << 16) + (g << 8) + b: name for name, (r, g, b) in triples.items()}
            except (ValueError, IndexError):
                raise DatasetError(f"{colours}: expected rows NAME:R,G,B::, as CVAT writes them") from None
            return cls(colours.name, named_colours, by_colour=True)
        if numbers.is_file():
            listed = [name for name in _lines(numbers) if name != "__ignore__"]
            first = 0 if listed and listed[0].lower() in _BACKGROUND else 1
            return cls(numbers.name, dict(enumerate(listed, first)), by_colour=False)
        return cls("", {}, by_colour=False)

    def marks(self, image: MarkedImage, mask: Path, content: Content) -> tuple[ImageMark, ...]:
        """Return an outline for each class in the mask; a value without a name is a problem, and so is a class that
        the image has a box of and the mask does not show.

        Where nothing names the values, a mask of one value shows the class of the image's boxes, also in white.
        """
        try:
            values = {int(value) for value in np.unique(_values(mask, self.by_colour))} - {0}
        except DatasetError as error:
            content.problem(mask, str(error).removeprefix(f"{mask}: "))
            return ()
        names = self.names
        boxed = {mark.label for mark in image.marks}
        inside = values - _VOID or values
        if not self.source and len(boxed) == 1 and len(inside) == 1:
            names = {next(iter(inside)): next(iter(boxed))}
        found = []
        for value in sorted(values):
            if value in names:
                if names[value].lower() not in _BACKGROUND:
                    found.append(ImageMark(names[value], shape=MaskArea(mask, value, self.by_colour)))
            elif value in _VOID and values - _VOID:
                content.note("masks with void borders, taken as free of defects", mask.name)
            else:
                what = f"colour #{value:06x}" if self.by_colour else f"number {value}"
                source = f"{self.source} does not name" if self.source else "nothing names"
                content.problem(mask, f"holds {what}, which {source}; add labelmap.txt or class_names.txt, or its row")
        shown = {mark.label.casefold() for mark in found}
        lost = sorted(label for label in boxed if label.casefold() not in shown)
        if lost and values <= names.keys() | _VOID:
            content.problem(mask, f"does not show {named(lost)}, of which the image has boxes; correct one of them")
        return tuple(found)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def _values(path: Path, by_colour: bool) -> NDArray[np.int64]:
    """Return the numbers (lines, width) of a mask, or its colours as 0xRRGGBB."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            if not by_colour and opened.mode in ("P", "L", "1"):
                return np.asarray(opened).astype(np.int64)
            if not by_colour:
                raise DatasetError(f"{path}: is in colour, expected class numbers; add labelmap.txt with the colours")
            red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB")).astype(np.int64), 2, 0)
            return (red << 16) + (green << 8) + blue
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetError(f"{path}: expected a mask, found a file that does not decode; restore it") from error
