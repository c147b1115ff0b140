"""The real sets, each read by one adapter into `Specimen`s: a picture, what is said about it, and the fold it belongs
to.

An adapter reads its tables and checks that every picture and mask they name is there; pixels are read when asked for.
Whatever does not fit raises `DatasetError`, which names the file.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import LinewatchError
from linewatch.training.splits import Split

SPLITS = Path("configs/splits")


class DatasetError(LinewatchError):
    """A data set's folder does not hold what its tables say."""


class Knowledge(StrEnum):
    """How much is known about a specimen."""

    OUTLINED = "outlined"  # labels, and a mask of where
    LABELLED = "labelled"  # labels of the whole picture, complete; where is not known
    CLASS_ONLY = "class_only"  # some class is known to be there; never a negative
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
    """One picture of a set.

    labels: the set's own labels, empty where unknown. mask_labels: the label of mask value k is mask_labels[k - 1].
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
    group: str | None = None

    def renamed(self, prefix: str) -> Specimen:
        """The same with PREFIX: before its labels."""
        return replace(self, labels=tuple(f"{prefix}:{label}" for label in self.labels))

    def gray(self) -> NDArray[np.uint8]:
        """uint8 (lines, width). `DatasetError` if the file cannot be decoded."""
        return _read_gray(self.path)

    def mask(self) -> NDArray[np.uint8]:
        """uint8, the picture's shape: 0 no defect, k one of class `mask_labels[k - 1]`; `DatasetError` without one."""
        if self.mask_path is None:
            raise DatasetError(
                f"{self.path}: asked for a mask, but {self.data_set} has none for it; use OUTLINED specimens"
            )
        mask = _read_gray(self.mask_path)
        if self.mask_labels and len(self.mask_labels) == 1:
            mask = (mask > 0).astype(np.uint8)
        if mask.max(initial=0) > len(self.mask_labels):
            raise DatasetError(
                f"{self.mask_path}: holds value {mask.max()}, expected 0 to {len(self.mask_labels)}; not its mask"
            )
        return mask


@dataclass(frozen=True, slots=True)
class DataSet:
    """A set on disk: its classes in a fixed order, and its pictures."""

    name: str
    root: Path
    labels: tuple[str, ...]
    specimens: tuple[Specimen, ...]


def neu(root: Path, split: Split) -> list[Specimen]:
    """NEU surface defect database (Song & Yan 2013): 200 x 200 patches, boxes of NEU-DET, masks of SD-saliency-900
    for three classes.

    A patch's labels are its own and those of its boxes: some patches are mixed.
    """
    boxes: dict[str, list[LabelBox]] = defaultdict(list)
    for row in _table(root / "boxes.csv", "file", "class", "xmin", "ymin", "xmax", "ymax"):
        x0, y0, x1, y1 = (_whole(root / "boxes.csv", row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
        boxes[row["file"]].append(LabelBox(row["class"], x0, y0, x1, y1))
    masked = {"inclusion", "patches", "scratches"}
    specimens = []
    for row in _table(root / "labels.csv", "file", "class"):
        file, label = row["file"], row["class"]
        outlined = label in masked
        specimens.append(
            Specimen(
                data_set="neu",
                file=file,
                fold=split.fold_of(file),
                knowledge=Knowledge.OUTLINED if outlined else Knowledge.LABELLED,
                labels=tuple(dict.fromkeys([label, *(box.label for box in boxes[file])])),
                path=_there(root / "images" / file, root / "labels.csv"),
                mask_path=_there(root / "masks" / f"{Path(file).stem}.png", root / "labels.csv") if outlined else None,
                mask_labels=(label,) if outlined else (),
                boxes=tuple(boxes[file]),
            )
        )
    return specimens


def xsdd(root: Path, split: Split) -> list[Specimen]:
    """X-SDD (Feng, Gao, Luo 2021): 128 x 128 patches, one of seven classes each."""
    return [
        Specimen(
            data_set="xsdd",
            file=row["file"],
            fold=split.fold_of(row["file"]),
            knowledge=Knowledge.LABELLED,
            labels=(row["class"],),
            path=_there(root / "images" / row["file"], root / "labels.csv"),
        )
        for row in _table(root / "labels.csv", "file", "class")
    ]


def severstal(root: Path, split: Split) -> list[Specimen]:
    """Severstal line-scan frames, 256 lines x 1600 px: outlined, then class-only, then unlabelled."""

    def frame(file: str, folder: str, knowledge: Knowledge, labels: str, table: Path) -> Specimen:
        outlined = knowledge is Knowledge.OUTLINED
        return Specimen(
            data_set="severstal",
            file=file,
            fold=split.fold_of(file),
            knowledge=knowledge,
            labels=tuple(labels.split("+")) if labels else (),
            path=_there(root / folder / file, table),
            mask_path=_there(root / "masks" / f"{Path(file).stem}.png", table) if outlined else None,
            mask_labels=("1", "2", "3", "4") if outlined else (),
        )

    tables = (("labels.csv", "images", Knowledge.OUTLINED), ("class_only.csv", "class_only", Knowledge.CLASS_ONLY))
    specimens = [
        frame(row["file"], folder, knowledge, row["defect_classes"], root / table)
        for table, folder, knowledge in tables
        for row in _table(root / table, "file", "defect_classes")
    ]
    unlabelled = sorted(path.name for path in (root / "unlabelled").glob("*.*"))
    return specimens + [frame(file, "unlabelled", Knowledge.UNLABELLED, "", root / "unlabelled") for file in unlabelled]


HOUSE_SETS = ("neu", "xsdd", "severstal")


def magnetic_tile(root: Path, split: Split) -> list[Specimen]:
    return [
        Specimen(
            data_set="magnetic_tile",
            file=row["file"],
            fold=None,
            knowledge=Knowledge.OUTLINED,
            labels=(row["class"],),
            path=_there(root / "images" / row["file"], root / "labels.csv"),
            mask_path=_there(root / "masks" / f"{Path(row['file']).stem}.png", root / "labels.csv"),
            mask_labels=(row["class"],),
        )
        for row in _table(root / "labels.csv", "file", "class")
    ]


def open_set(name: str, root: Path) -> DataSet:
    split = Split.read(SPLITS / f"{name}.csv") if (SPLITS / f"{name}.csv").is_file() else Split(name, [])
    specimens = ADAPTERS[name](root, split)
    labels = sorted({one.labels[0] for one in specimens if one.labels})
    return DataSet(name, root, tuple(labels), tuple(specimens))


ADAPTERS: dict[str, Callable[[Path, Split], list[Specimen]]] = {"neu": neu, "xsdd": xsdd, "severstal": severstal, "magnetic_tile": magnetic_tile}


def read_set(name: str, data: Path, splits: Path = SPLITS) -> list[Specimen]:
    """The specimens of one set under the data folder, with the folds of the committed split."""
    if name not in ADAPTERS:
        raise DatasetError(f"no adapter for a set {name!r}, expected one of {sorted(ADAPTERS)}")
    return ADAPTERS[name](data / name, Split.read(splits / f"{name}.csv"))


def decode_kaggle_rle(text: str, lines: int, width: int) -> NDArray[np.bool_]:
    """Kaggle's run-length code (1-based start and length, by columns) as a mask (lines, width), or `DatasetError`."""
    try:
        numbers = np.array(text.split(), np.int64).reshape(-1, 2)
    except ValueError:
        raise DatasetError(
            f"run-length code {text[:40]!r}: expected pairs of start and length, separated by blanks"
        ) from None
    starts, stops = numbers[:, 0] - 1, numbers.sum(axis=1) - 1
    if len(numbers) and (starts.min() < 0 or stops.max() > lines * width or numbers[:, 1].min() < 1):
        raise DatasetError(f"run-length code {text[:40]!r}: runs leave a picture of {lines} x {width}; wrong size?")
    flat = np.zeros(lines * width, bool)
    for start, stop in zip(starts, stops, strict=True):
        flat[start:stop] = True
    return flat.reshape(width, lines).T


def _table(path: Path, *columns: str) -> Sequence[dict[str, str]]:
    try:
        with path.open(newline="") as handle:
            reader = csv.DictReader(handle)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise DatasetError(
                    f"{path}: expected columns {', '.join(columns)}, found no {', '.join(sorted(missing))}"
                )
            return list(reader)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); point --data at the folder that holds neu, xsdd and severstal"
        ) from error


def _whole(path: Path, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DatasetError(f"{path}: expected a whole number of pixels, found {text!r}") from None


def _there(path: Path, table: Path) -> Path:
    if not path.is_file():
        raise DatasetError(f"{path}: not there, but {table.name} names it; restore the file or take its row out")
    return path


def _read_gray(path: Path) -> NDArray[np.uint8]:
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise DatasetError(f"{path}: expected a picture, found a file that does not decode; restore it")
    return gray.astype(np.uint8, copy=False)
