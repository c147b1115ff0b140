"""One image of a data set with its labels, mask and boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.problems import DatasetProblem
from linewatch.datasets.shapes import Outline, draw

_ORIENTATION, _ON_ITS_SIDE = 0x0112, range(5, 9)
"""The Exif tag of an image that is stored turned, and the values that exchange lines and width."""


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
        mask = read_gray(self.mask_path)
        if len(self.mask_labels) == 1:
            mask = (mask > 127).astype(np.uint8) if mask.max(initial=0) > 1 else mask
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
    """Return uint8 (lines, width); `DatasetError` if the file cannot be decoded."""
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise DatasetError(f"{path}: expected an image, found a file that does not decode; restore it")
    return gray.astype(np.uint8, copy=False)


def size_px(path: Path) -> tuple[int, int] | None:
    """Return (lines, width) of an image from its header, as `read_gray` turns it; None if it has no readable header."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            width, lines = opened.size
            turned = opened.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
    except (OSError, UnidentifiedImageError, SyntaxError):
        return None
    return (width, lines) if turned else (lines, width)
