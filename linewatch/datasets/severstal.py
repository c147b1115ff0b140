"""Severstal: steel defect detection (Kaggle 2019), flat steel: line-scan frames of 256 lines x 1600 px, four classes.

From https://www.kaggle.com/c/severstal-steel-defect-detection. Terms, its owner's: "If you need to use the dataset in
your research you are entitled to do it without any restrictions except those established by the applicable law."
Layouts: ``labels.csv``, ``images/``, ``masks/`` (values 0-4), beside them ``class_only.csv`` with ``class_only/`` and
``unlabelled/``; Kaggle's, ``train.csv`` (ImageId,ClassId,EncodedPixels; or the older ImageId_ClassId,EncodedPixels)
with ``train_images/``, where a frame without a row is free of defects, and ``test_images/`` without labels.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import images, table, unknown_layout
from linewatch.datasets.shapes import KaggleRuns, Outline
from linewatch.datasets.specimen import Knowledge, Specimen

NAME = "severstal"
CLASSES = ("1", "2", "3", "4")
CLEAN = "ok"
LABELS = (CLEAN, *CLASSES)


def read(root: Path) -> list[Specimen]:
    """Read the set: outlined frames, then class-only, then unlabelled ones."""
    if (root / "labels.csv").is_file():
        return _tables(root)
    if (root / "train.csv").is_file() and (root / "train_images").is_dir():
        return _kaggle(root)
    raise unknown_layout(NAME, root, ("labels.csv, images/ and masks/", "train.csv and train_images/"))


def _frame(root: Path, file: str, folder: str, knowledge: Knowledge, labels: str, **known: object) -> Specimen:
    return Specimen(
        data_set=NAME,
        file=file,
        fold=None,
        knowledge=knowledge,
        labels=tuple(labels.split("+")) if labels else (),
        path=root / folder / file,
        mixed="+" in labels,
        mask_labels=CLASSES if knowledge is Knowledge.OUTLINED else (),
        **known,  # type: ignore[arg-type]
    )


def _tables(root: Path) -> list[Specimen]:
    found = [
        _frame(
            root,
            row["file"],
            "images",
            Knowledge.OUTLINED,
            row["defect_classes"],
            mask_path=root / "masks" / f"{Path(row['file']).stem}.png",
        )
        for row in table(root / "labels.csv", "file", "defect_classes")
    ]
    if (root / "class_only.csv").is_file():
        found += [
            _frame(root, row["file"], "class_only", Knowledge.CLASS_ONLY, row["defect_classes"])
            for row in table(root / "class_only.csv", "file", "defect_classes")
        ]
    return found + _unlabelled(root, "unlabelled")


def _kaggle(root: Path) -> list[Specimen]:
    runs: dict[str, list[Outline]] = defaultdict(list)
    path = root / "train.csv"
    for row in table(path, "EncodedPixels"):
        code = (row["EncodedPixels"] or "").strip()
        file, _, number = (row.get("ImageId_ClassId") or f"{row.get('ImageId')}_{row.get('ClassId')}").rpartition("_")
        if number not in CLASSES:
            raise DatasetError(f"{path}: {file} has ClassId {number!r}, expected 1 to 4")
        if code:
            runs[file].append(Outline(number, KaggleRuns(code)))
    there = {one.name for one in images(root / "train_images")}
    return [
        _frame(
            root,
            file,
            "train_images",
            Knowledge.OUTLINED,
            "+".join(sorted({one.label for one in runs.get(file, [])})) or CLEAN,
            outlines=tuple(runs.get(file, [])),
        )
        for file in sorted(there | set(runs))
    ] + _unlabelled(root, "test_images")


def _unlabelled(root: Path, folder: str) -> list[Specimen]:
    if not (root / folder).is_dir():
        return []
    return [_frame(root, path.name, folder, Knowledge.UNLABELLED, "") for path in images(root / folder)]
