"""One image of a data set with its labels, mask and boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import LinewatchError


class DatasetError(LinewatchError):
    """A data set's folder does not match its tables."""

    exit_code = 3


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
    empty if unknown. mask_labels: the label of mask value k is mask_labels[k - 1]. rle: pairs of a mask value and its
    run-length code, for sets without mask files. group: images of one group show the same object.
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
    rle: tuple[tuple[int, str], ...] = ()
    group: str | None = None

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
            return self._mask_of_runs()
        mask = read_gray(self.mask_path)
        if len(self.mask_labels) == 1:
            mask = (mask > 127).astype(np.uint8) if mask.max(initial=0) > 1 else mask
        if mask.max(initial=0) > len(self.mask_labels):
            raise DatasetError(
                f"{self.mask_path}: holds value {mask.max()}, expected 0 to {len(self.mask_labels)}; not its mask"
            )
        return mask

    def renamed(self, prefix: str) -> Specimen:
        """Return the specimen with PREFIX: before its labels."""
        return replace(self, labels=tuple(f"{prefix}:{label}" for label in self.labels))

    def _mask_of_runs(self) -> NDArray[np.uint8]:
        lines, width = self.gray().shape
        mask = np.zeros((lines, width), np.uint8)
        for value, code in self.rle:
            try:
                mask[decode_kaggle_rle(code, lines, width)] = value
            except DatasetError as error:
                raise DatasetError(f"{self.path}: {error}") from error
        return mask


@dataclass(frozen=True, slots=True)
class DataSet:
    """A set on disk: its classes in a fixed order, and its images."""

    name: str
    root: Path
    labels: tuple[str, ...]
    specimens: tuple[Specimen, ...]


def decode_kaggle_rle(text: str, lines: int, width: int) -> NDArray[np.bool_]:
    """Decode Kaggle's run-length code (1-based start and length, by columns) into a mask (lines, width)."""
    try:
        numbers = np.array(text.split(), np.int64).reshape(-1, 2)
    except ValueError:
        raise DatasetError(
            f"run-length code {text[:40]!r}: expected pairs of start and length, separated by blanks"
        ) from None
    starts, stops = numbers[:, 0] - 1, numbers.sum(axis=1) - 1
    if len(numbers) and (starts.min() < 0 or stops.max() > lines * width or numbers[:, 1].min() < 1):
        raise DatasetError(f"run-length code {text[:40]!r}: runs leave an image of {lines} x {width}; wrong size?")
    flat = np.zeros(lines * width, bool)
    for start, stop in zip(starts, stops, strict=True):
        flat[start:stop] = True
    return flat.reshape(width, lines).T


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Return uint8 (lines, width); `DatasetError` if the file cannot be decoded."""
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise DatasetError(f"{path}: expected an image, found a file that does not decode; restore it")
    return gray.astype(np.uint8, copy=False)
