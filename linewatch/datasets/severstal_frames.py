"""All whole Severstal frames whose defects are located: those of `severstal` and of `severstal_more` together.

Root is the folder that holds both. A frame has a mask of Kaggle's classes or, where no mask is at hand, the boxes of
its components: outside a box the frame is free of defects, inside nothing more is known. A frame of several classes
without a mask is left out, since its boxes do not say of which class they are.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from linewatch.datasets import severstal
from linewatch.datasets.layout import table, unknown_layout
from linewatch.datasets.specimen import Knowledge, LabelBox, Specimen

NAME = "severstal_frames"
SETS = (severstal.NAME, "severstal_more")
CLASSES, CLEAN, LABELS = severstal.CLASSES, severstal.CLEAN, severstal.LABELS


def read(root: Path) -> list[Specimen]:
    """Read the frames, by file name."""
    old, more = (root / name for name in SETS)
    tables = ((old, "labels.csv"), (old, "class_only.csv"), (more, "labels.csv"))
    if not all((folder / name).is_file() for folder, name in tables):
        raise unknown_layout(NAME, root, ["severstal/ and severstal_more/ with labels.csv, class_only.csv"])
    boxes = _component_boxes(more / "boxes_all_defective.csv.gz")
    found: dict[str, Specimen] = {}
    for (folder, name), pictures, masks in zip(
        tables,
        ("images", "class_only", "images"),
        (old / "masks", more / "masks_for_class_only", more / "masks"),
        strict=True,
    ):
        for row in table(folder / name, "file", "defect_classes"):
            labels = tuple(row["defect_classes"].split("+"))
            path = folder / pictures / row["file"]
            specimen = _located(path, labels, masks / f"{path.stem}.png", boxes.get(path.stem, []))
            if specimen is not None:
                found.setdefault(path.stem, specimen)
    return [found[name] for name in sorted(found)]


def _located(path: Path, labels: tuple[str, ...], mask: Path, boxes: Sequence[Sequence[int]]) -> Specimen | None:
    if mask.is_file() or labels == (CLEAN,):
        return Specimen(
            data_set=NAME,
            file=path.name,
            fold=None,
            knowledge=Knowledge.OUTLINED,
            labels=labels,
            path=path,
            mask_path=mask if mask.is_file() else None,
            mask_labels=CLASSES,
            mixed=len(labels) > 1,
        )
    if len(labels) != 1 or not boxes:
        return None
    return Specimen(
        data_set=NAME,
        file=path.name,
        fold=None,
        knowledge=Knowledge.CLASS_ONLY,
        labels=labels,
        path=path,
        boxes=tuple(LabelBox(labels[0], x0, y0, x1, y1) for y0, x0, y1, x1 in boxes),
    )


def _component_boxes(path: Path) -> dict[str, list[list[int]]]:
    if not path.is_file():
        return {}
    with gzip.open(path, "rt", newline="") as handle:
        rows = list(csv.DictReader(handle))
    # The file's last lines and columns belong to their boxes.
    return {
        Path(row["ImageId"]).stem: [[y0, x0, y1 + 1, x1 + 1] for y0, x0, y1, x1 in json.loads(row["boxes_y1x1y2x2"])]
        for row in rows
    }
