"""Frames with a mask each, without a table: `images/` and `masks/`, or NAME.jpg beside NAME.png or NAME_mask.png.

A mask is a picture of class numbers: 0 is no defect, k is the class named by the number k; its classes come from the
taxonomy. An image without a mask is one that nobody has looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import (
    MASK_FOLDERS,
    Content,
    ImageMark,
    MarkedImage,
    files_below,
    pictures_below,
)
from linewatch.datasets.own.folders import class_folders
from linewatch.datasets.shapes import runs_of
from linewatch.datasets.specimen import read_mask

NAME = "masks"
TREE = "images/NAME.jpg and masks/NAME.png of class numbers, or both beside each other, without a table"

_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".txt", ".yaml", ".yml")
_ENDINGS = ("", "_mask", ".mask", "-mask", "_label", "_gt")
_LOSSY = (".jpg", ".jpeg")


def recognise(root: Path) -> str | None:
    if files_below(root, _TABLES) or class_folders(root):
        return None
    pairs = _pairs(root)
    return f"a mask for {len(pairs)} images, and no table" if pairs else None


def read(root: Path) -> Content:
    """Read the set."""
    content, pairs = Content(root), _pairs(root)
    if not pairs:
        raise DatasetError(f"{root}: expected {TREE}; found no image with a mask")
    for path, mask in pairs.items():
        content.masks.add(mask)
        try:
            content.images.append(MarkedImage(path, marks=tuple(_marks(mask))))
        except DatasetError as error:
            content.problem(mask, str(error).removeprefix(f"{mask}: "))
    for mask in pictures_below(root):
        if _in_masks(mask.relative_to(root)) and mask not in content.masks:
            content.masks.add(mask)
            content.problem(mask, "no image has the name of this mask; add the image or take the mask away")
    return content


def _pairs(root: Path) -> dict[Path, Path]:
    """Return the mask of each image that has one: by its name in a folder of masks, else beside the image."""
    pictures = pictures_below(root)
    inside = {path for path in pictures if _in_masks(path.relative_to(root))}
    by_name = {path.stem: path for path in inside}
    beside = {(path.parent, path.stem): path for path in pictures if path.suffix.lower() not in _LOSSY}
    found: dict[Path, Path] = {}
    for path in pictures:
        names = [path.stem + ending for ending in _ENDINGS]
        masks = [by_name.get(name) if inside else beside.get((path.parent, name)) for name in names]
        mask = next((one for one in masks if one is not None and one != path), None)
        if mask is not None and path not in inside:
            found[path] = mask
    return found


def _in_masks(below: Path) -> bool:
    return any(part.lower() in MASK_FOLDERS for part in below.parts[:-1])


def _marks(mask_path: Path) -> list[ImageMark]:
    mask = read_mask(mask_path)
    return [ImageMark(str(value), shape=runs_of(mask == value, 0, 0)) for value in np.unique(mask[mask > 0]).tolist()]
