"""The whole frames that the inspect network learns from: image, mask of house classes, and true pieces.

They are those of the set `severstal_frames`, with the group and the fold of each by the committed split
(`python -m experiments.eye.split` writes it again).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.datasets import SPLITS, Knowledge, Specimen, severstal_frames
from linewatch.datasets.specimen import read_gray
from linewatch.datasets.splits import Split

CLASSES = ("torn_spot", "edge_mark", "scratch", "sliver")
"""House classes of Kaggle's 1 to 4, by configs/taxonomy.toml."""
UNKNOWN = 255
"""A mask's value inside the box of a component whose outline is not at hand."""
SPLIT = SPLITS / f"{severstal_frames.NAME}.csv"
DOUBTFUL_CLEAN = frozenset({"0d1b42754", "0a5a82b86", "1be022616", "1ae34857b"})
"""Kaggle calls them free of defects, but they show torn skin, strip ends or scale: no ground for a false-call count."""
HEIGHT, WIDTH = 256, 1600


@dataclass(frozen=True)
class TruePiece:
    """A connected piece of a true defect: its class, an index into CLASSES, and its box [x0, x1) x [y0, y1) in
    pixels.
    """

    class_index: int
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class LabelledFrame:
    """A frame whose defects are located.

    name: the file's, without its suffix. mask: uint8 (256, 1600), 0 clean, 1 + index into CLASSES, or UNKNOWN.
    classes: which there are. pieces: the true defects. outlined: whether the mask has outlines, not boxes.
    """

    name: str
    path: Path
    mask: NDArray[np.uint8]
    classes: tuple[int, ...]
    pieces: tuple[TruePiece, ...]
    outlined: bool

    @classmethod
    def of(cls, one: Specimen) -> LabelledFrame:
        """Return a frame of the set `severstal_frames`."""
        classes = () if one.labels == (severstal_frames.CLEAN,) else tuple(int(label) - 1 for label in one.labels)
        if one.knowledge is Knowledge.OUTLINED:
            mask = one.mask()
            return cls(one.path.stem, one.path, mask, classes, tuple(pieces_of(mask)), outlined=True)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for box in one.boxes:
            mask[box.y0 : box.y1, box.x0 : box.x1] = UNKNOWN
        pieces = tuple(TruePiece(classes[0], box.x0, box.y0, box.x1, box.y1) for box in one.boxes)
        return cls(one.path.stem, one.path, mask, classes, pieces, outlined=False)

    def gray(self) -> NDArray[np.uint8]:
        """Return the image, uint8 (256, 1600)."""
        return read_gray(self.path)

    @property
    def clean(self) -> bool:
        return not self.classes

    @property
    def doubtful(self) -> bool:
        """Whether the frame is labelled clean but shows defects."""
        return self.name in DOUBTFUL_CLEAN


def read_frames(data: Path) -> list[LabelledFrame]:
    """Return the frames of `severstal` and `severstal_more` under `data` whose defects are located, by name."""
    return [LabelledFrame.of(one) for one in severstal_frames.read(data)]


def pieces_of(mask: NDArray[np.uint8]) -> Iterator[TruePiece]:
    """Yield the connected pieces of each class of a mask as `LabelledFrame` has it."""
    for value in np.unique(mask[mask > 0]).tolist():
        count, _, boxes, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
        for x, y, width, lines, _ in boxes[1:count].tolist():
            yield TruePiece(value - 1, x, y, x + width, y + lines)


@dataclass(frozen=True)
class Folds:
    """The committed split: the group and the fold of each frame, by name."""

    group: dict[str, int]
    fold: dict[str, int]

    @classmethod
    def read(cls, path: Path = SPLIT) -> Folds:
        rows = Split.read(path).assignments
        names = [Path(row.file).stem for row in rows]
        return cls(
            {name: row.group for name, row in zip(names, rows, strict=True)},
            {name: row.fold for name, row in zip(names, rows, strict=True)},
        )

    def of(self, frames: Sequence[LabelledFrame], fold: int) -> list[LabelledFrame]:
        """Return the frames in the fold."""
        return [frame for frame in frames if self.fold[frame.name] == fold]

    def without(self, frames: Sequence[LabelledFrame], fold: int) -> list[LabelledFrame]:
        """Return the frames in the other folds."""
        return [frame for frame in frames if self.fold[frame.name] != fold]
