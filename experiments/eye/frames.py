"""All whole Severstal frames whose defects are located, with the group and fold of each.

A frame's truth is either a mask of Kaggle's classes or, where no mask is at hand, the boxes of its components: outside
a box the frame is free of defects, inside nothing more is known.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.datasets import read_gray
from linewatch.datasets.layout import table
from linewatch.datasets.splits import Split

CLASSES = ("torn_spot", "edge_mark", "scratch", "sliver")
"""House classes of Kaggle's 1 to 4, by configs/taxonomy.toml."""
UNKNOWN = 255
"""A mask's value inside the box of a component whose outline is not at hand."""
SPLIT = Path(__file__).with_name("split.csv")
DOUBTFUL_CLEAN = frozenset({"0d1b42754", "0a5a82b86", "1be022616", "1ae34857b"})
"""Kaggle calls them free of defects, but they show torn skin, strip ends or scale: no ground for a false-call count."""
TREAD_PLATE = frozenset({"0a3bbea4d", "0a65bd8d4", "0a76ac9b8"})
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
    classes: which there are. pieces: the true defects; in a frame that only has boxes those of one class alone can
    be told apart by class, so a frame of several classes without a mask is left out (`read_frames`).
    """

    name: str
    path: Path
    mask: NDArray[np.uint8]
    classes: tuple[int, ...]
    pieces: tuple[TruePiece, ...]
    outlined: bool

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
    old, more = data / "severstal", data / "severstal_more"
    boxes = _component_boxes(more / "boxes_all_defective.csv.gz")
    found: dict[str, LabelledFrame] = {}
    for root, labels, folder, masks in (
        (old, "labels.csv", "images", old / "masks"),
        (old, "class_only.csv", "class_only", more / "masks_for_class_only"),
        (more, "labels.csv", "images", more / "masks"),
    ):
        for row in table(root / labels, "file", "defect_classes"):
            path = root / folder / row["file"]
            frame = _frame(path, row["defect_classes"], masks / f"{path.stem}.png", boxes.get(path.stem, []))
            if frame is not None:
                found.setdefault(frame.name, frame)
    return [found[name] for name in sorted(found)]


def _frame(path: Path, labels: str, mask_path: Path, boxes: Sequence[Sequence[int]]) -> LabelledFrame | None:
    classes = () if labels == "ok" else tuple(int(label) - 1 for label in labels.split("+"))
    if mask_path.is_file() or not classes:
        mask = read_gray(mask_path) if mask_path.is_file() else np.zeros((HEIGHT, WIDTH), np.uint8)
        return LabelledFrame(path.stem, path, mask, classes, tuple(_pieces(mask)), outlined=True)
    if len(classes) != 1 or not boxes:
        return None
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    pieces = []
    for y0, x0, y1, x1 in boxes:
        mask[y0:y1, x0:x1] = UNKNOWN
        pieces.append(TruePiece(classes[0], x0, y0, x1, y1))
    return LabelledFrame(path.stem, path, mask, classes, tuple(pieces), outlined=False)


def _pieces(mask: NDArray[np.uint8]) -> Iterator[TruePiece]:
    for value in np.unique(mask[mask > 0]).tolist():
        count, _, boxes, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
        for x, y, width, lines, _ in boxes[1:count].tolist():
            yield TruePiece(value - 1, x, y, x + width, y + lines)


def _component_boxes(path: Path) -> dict[str, list[list[int]]]:
    with gzip.open(path, "rt", newline="") as handle:
        rows = list(csv.DictReader(handle))
    # The file's last lines and columns belong to their boxes.
    return {
        Path(row["ImageId"]).stem: [[y0, x0, y1 + 1, x1 + 1] for y0, x0, y1, x1 in json.loads(row["boxes_y1x1y2x2"])]
        for row in rows
    }


@dataclass(frozen=True)
class Folds:
    """The committed split: the group and the fold of each frame."""

    group: dict[str, int]
    fold: dict[str, int]

    @classmethod
    def read(cls) -> Folds:
        rows = Split.read(SPLIT).assignments
        return cls({row.file: row.group for row in rows}, {row.file: row.fold for row in rows})

    def of(self, frames: Sequence[LabelledFrame], fold: int) -> list[LabelledFrame]:
        """Return the frames in the fold."""
        return [frame for frame in frames if self.fold[frame.name] == fold]

    def without(self, frames: Sequence[LabelledFrame], fold: int) -> list[LabelledFrame]:
        """Return the frames in the other folds."""
        return [frame for frame in frames if self.fold[frame.name] != fold]
