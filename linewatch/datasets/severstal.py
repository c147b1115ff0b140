"""Severstal: steel defect detection (Kaggle 2019), flat steel: line-scan frames of 256 lines x 1600 px, four classes.

From https://www.kaggle.com/c/severstal-steel-defect-detection. Terms, its owner's: "If you need to use the dataset in
your research you are entitled to do it without any restrictions except those established by the applicable law."
Layouts: ``labels.csv`` (file,defect_classes), ``images/``, ``masks/`` (values 0-4; a frame free of defects needs none),
beside them ``class_only.csv`` with ``class_only/`` and ``unlabelled/``; Kaggle's, ``train.csv`` (ImageId,ClassId,
EncodedPixels in any order, or the older ImageId_ClassId,EncodedPixels) with ``train_images/``, ``images/`` or the
frames beside the table, where a frame without a row is free of defects, and ``test_images/`` without labels.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import images, table, unknown_layout
from linewatch.datasets.own.csv_table import read_rows
from linewatch.datasets.shapes import KaggleRuns, Outline
from linewatch.datasets.specimen import Knowledge, Specimen

NAME = "severstal"
CLASSES = ("1", "2", "3", "4")
CLEAN = "ok"
LABELS = (CLEAN, *CLASSES)

_FOLDERS = ("train_images", "images")
_NO_RUNS = ("", "-1", "nan")
"""What people write as EncodedPixels of a frame without defects."""


def recognise(root: Path) -> str | None:
    """Return what the layout is recognised by, None if the folder has another one."""
    if _has_columns(root / "labels.csv", "defect_classes") and (root / "masks").is_dir():
        return "labels.csv with defect_classes, and masks/"
    if _has_columns(root / "train.csv", "encodedpixels"):
        return "train.csv with EncodedPixels"
    return None


def _has_columns(path: Path, *names: str) -> bool:
    return path.is_file() and set(names) <= set(read_rows(path)[1])


def read(root: Path) -> list[Specimen]:
    """Read the set: outlined frames, then class-only, then unlabelled ones."""
    if (root / "labels.csv").is_file() and ((root / "masks").is_dir() or not (root / "train.csv").is_file()):
        return _tables(root)
    if (root / "train.csv").is_file():
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
    found = [_of_row(root, row) for row in table(root / "labels.csv", "file", "defect_classes")]
    if (root / "class_only.csv").is_file():
        found += [
            _frame(root, row["file"], "class_only", Knowledge.CLASS_ONLY, row["defect_classes"])
            for row in table(root / "class_only.csv", "file", "defect_classes")
        ]
    return found + _unlabelled(root, "unlabelled")


def _of_row(root: Path, row: dict[str, str]) -> Specimen:
    """Return the frame of a row of labels.csv; one with `mask` no has its classes only."""
    file, labels = row["file"], row["defect_classes"]
    mask = root / "masks" / f"{Path(file).stem}.png"
    if row.get("mask") == "no":
        return _frame(root, file, "images", Knowledge.CLASS_ONLY, labels)
    lacks = labels == CLEAN and not mask.is_file()
    return _frame(root, file, "images", Knowledge.OUTLINED, labels, mask_path=None if lacks else mask)


def _kaggle(root: Path) -> list[Specimen]:
    runs: dict[str, list[Outline]] = defaultdict(list)
    path = root / "train.csv"
    rows, header = read_rows(path)
    if "encodedpixels" not in header or not ("imageid_classid" in header or {"imageid", "classid"} <= set(header)):
        raise DatasetError(
            f"{path}: expected columns ImageId, ClassId, EncodedPixels, or ImageId_ClassId, EncodedPixels; "
            f"found {', '.join(header) or 'none'}"
        )
    for row in rows:
        file, _, number = (row.get("imageid_classid") or f"{row.get('imageid')}_{row.get('classid')}").rpartition("_")
        number, code = number.removesuffix(".0"), row["encodedpixels"]
        if code.lower() in _NO_RUNS:
            runs[file] += []
        elif number in CLASSES:
            runs[file].append(Outline(number, KaggleRuns(code)))
        else:
            raise DatasetError(f"{path}: {file} has ClassId {number!r}, expected 1 to 4")
    folder = next((name for name in _FOLDERS if (root / name).is_dir()), "")
    there = {one.name for one in images(root / folder)}
    return [
        _frame(
            root,
            file,
            folder,
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
