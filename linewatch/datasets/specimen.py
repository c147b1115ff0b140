"""One image of a data set with its labels, mask and boxes."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.problems import DatasetProblem
from linewatch.datasets.shapes import Outline, draw
from linewatch.pictures import reading as pictures
from linewatch.pictures.error import PictureError

_ORIENTATION, _ON_ITS_SIDE = 0x0112, range(5, 9)
"""The Exif tag of an image that is stored turned, and the values that exchange lines and width."""


_HALF_WHITE = 127


class Knowledge(StrEnum):
    """How much is known about a specimen."""

    OUTLINED = "outlined"  # labels, and a mask of their places
    LABELLED = "labelled"  # complete labels of the whole image, without places
    CLASS_ONLY = "class_only"  # some of the classes in the image; never a negative
    UNLABELLED = "unlabelled"


@dataclass(frozen=True, slots=True)
class LabelBox:
    """A box [x0, x1) x [y0, y1) in pixels that holds a defect of the set's class `label`."""

    label: str
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True)
class Specimen:
    """One image of a set.

    fold: of the committed split, None if the image is not in it. labels: in the set's terms, the image's own one first;
    empty if unknown. mixed: it shows several classes, none of which is its own. mask_labels: the label of mask value k
    is mask_labels[k - 1]. outlines: the mask of a set without mask files. stated_px: the (lines, width) for which boxes
    and outlines were drawn, where the set says so. group: images of one group show the same object.
    """

    data_set: str
    file: str
    fold: int | None
    knowledge: Knowledge
    labels: tuple[str, ...]
    path: Path
    mask_path: Path | None = None
    mask_labels: tuple[str, ...] = ()
    boxes: tuple[LabelBox, ...] = ()
    outlines: tuple[Outline, ...] = ()
    group: str | None = None
    mixed: bool = False
    stated_px: tuple[int, int] | None = None

    def gray(self) -> NDArray[np.uint8]:
        """Return uint8 (lines, width); `DatasetError` if the file cannot be decoded."""
        return read_gray(self.path)

    def mask(self) -> NDArray[np.uint8]:
        """Return uint8 (lines, width): 0 no defect, k class `mask_labels[k - 1]`; `DatasetError` without a mask."""
        if self.knowledge is not Knowledge.OUTLINED:
            raise DatasetError(
                f"{self.path}: asked for a mask, but {self.data_set} has none for it; use OUTLINED specimens"
            )
        if self.mask_path is None:
            lines, width = self.gray().shape
            try:
                return draw(self.outlines, self.mask_labels, lines, width)
            except DatasetError as error:
                raise DatasetError(f"{self.path}: {error}") from error
        mask = read_mask(self.mask_path)
        if len(self.mask_labels) == 1:  # above half of white, which masks in JPEG need; a darker mask holds numbers
            mask = (mask > (_HALF_WHITE if mask.max(initial=0) > _HALF_WHITE else 0)).astype(np.uint8)
        if mask.max(initial=0) > len(self.mask_labels):
            raise DatasetError(
                f"{self.mask_path}: holds value {mask.max()}, expected 0 to {len(self.mask_labels)}; not its mask"
            )
        return mask

    def renamed(self, prefix: str) -> Specimen:
        """Return the specimen with PREFIX: before its labels, and PREFIX/ before its file."""

        def name(label: str) -> str:
            return f"{prefix}:{label}"

        return replace(
            self,
            file=f"{prefix}/{self.file}",
            labels=tuple(map(name, self.labels)),
            mask_labels=tuple(map(name, self.mask_labels)),
            boxes=tuple(replace(box, label=name(box.label)) for box in self.boxes),
            outlines=tuple(replace(one, label=name(one.label)) for one in self.outlines),
        )


@dataclass(frozen=True, slots=True)
class DataSet:
    """A set on disk: its classes in a fixed order, and its images.

    recognised: the layout of a user's own set, and why it was recognised. notes: how the set was read where there was a
    choice. problems: what could not be read; the set is incomplete until they are corrected.
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    specimens: tuple[Specimen, ...]
    recognised: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[DatasetProblem, ...] = ()


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Return uint8 (lines, width) as `linewatch.pictures` reads it everywhere; `DatasetError` if it cannot be read.

    A .json of labelme holds its image inside.
    """
    try:
        if path.suffix.lower() == ".json":
            with NamedTemporaryFile(suffix=".image") as held:
                held.write(_embedded(path))
                held.flush()
                return pictures.read_gray(Path(held.name))
        return pictures.read_gray(path)
    except PictureError as error:
        reason = str(error).rpartition(".image: ")[2] if path.suffix.lower() == ".json" else str(error)
        raise DatasetError(f"{path}: {reason.removeprefix(f'{path}: ')}") from error


def _embedded(path: Path) -> bytes:
    try:
        return base64.b64decode(json.loads(path.read_text(encoding="utf-8-sig"))["imageData"], validate=True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path}: expected an image inside, as imageData; found {error!r}") from error


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return a mask, uint8 (lines, width): the numbers of a picture with a palette, the gray values of any other."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            if opened.mode == "P":
                return np.asarray(opened).astype(np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError):
        pass  # `read_gray` says what is wrong with it
    return read_gray(path)


def size_px(path: Path) -> tuple[int, int] | None:
    """Return (lines, width) of an image as `read_gray` turns it, from its header; None if it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            width, lines = opened.size  # of a TIFF as turned, of other kinds as stored
            turned = opened.format != "TIFF" and opened.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
        return (width, lines) if turned else (lines, width)
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError):
        pass
    try:
        lines, width = read_gray(path).shape
    except DatasetError:
        return None
    return lines, width
