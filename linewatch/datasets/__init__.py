"""Data sets: an adapter for each, their splits into folds, and checks.

Start with `open_set`, which reads a set in any of its layouts and returns a `DataSet` of `Specimen`s. Each set has a
file of its own (`folder` reads a user's own set); `arguments` parses `--data`, `splits` and `parts` divide a set,
`check.problems` checks it before a training starts. Adapters read tables and list files; images are decoded on access.
Anything unexpected raises `DatasetError` with the name of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from linewatch.datasets import casting, elpv, folder, gc10, itodd, magnetic_tile, neu, sdnet2018, severstal, xsdd
from linewatch.datasets.specimen import (
    DataSet,
    DatasetError,
    Knowledge,
    LabelBox,
    Specimen,
    decode_kaggle_rle,
    read_gray,
)
from linewatch.datasets.splits import Split

__all__ = [
    "ADAPTERS",
    "HOUSE_SETS",
    "DataSet",
    "DatasetError",
    "Knowledge",
    "LabelBox",
    "Specimen",
    "decode_kaggle_rle",
    "open_set",
    "read_gray",
    "read_set",
]

SPLITS = Path("configs/splits")
HOUSE_SETS = ("neu", "xsdd", "severstal")
"""The sets that the shipped engines are trained on."""

_MODULES = (neu, severstal, xsdd, magnetic_tile, elpv, gc10, casting, sdnet2018, itodd)
ADAPTERS: dict[str, Callable[[Path], list[Specimen]]] = {module.NAME: module.read for module in _MODULES}
LABELS: dict[str, tuple[str, ...]] = {module.NAME: module.LABELS for module in _MODULES}


def open_set(name: str, root: Path, splits: Path = SPLITS) -> DataSet:
    """Return the set `name` in the folder `root`; an unknown name is a user's own set (see `folder`).

    Images in the committed split get their fold. `DatasetError` if the folder has no known layout.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; --data NAME=DIR names the set's own folder")
    specimens = ADAPTERS[name](root) if name in ADAPTERS else folder.read(name, root)
    table = splits / f"{name}.csv"
    folds = {one.file: one.fold for one in Split.read(table).assignments} if table.is_file() else {}
    found = tuple(replace(one, fold=folds.get(one.file)) for one in specimens)
    labels = LABELS.get(name) or tuple(dict.fromkeys(sorted(one.labels[0] for one in found if one.labels)))
    unknown = sorted({label for one in found for label in one.labels} - set(labels))
    if unknown:
        raise DatasetError(f"{root}: labels {', '.join(unknown)}, expected {', '.join(labels)} of {name}; correct them")
    return DataSet(name, root, labels, found)


def read_set(name: str, data: Path, splits: Path = SPLITS) -> list[Specimen]:
    """Return the specimens of one set under the data folder, each with its fold; `DatasetError` for a missing file."""
    if name not in ADAPTERS:
        raise DatasetError(f"no adapter for a set {name!r}, expected one of {sorted(ADAPTERS)}")
    specimens = ADAPTERS[name](data / name)
    for path in (path for one in specimens for path in (one.path, one.mask_path) if path is not None):
        if not path.is_file():
            raise DatasetError(f"{path}: not there, but {name}'s tables name it; restore the file or take its row out")
    split = Split.read(splits / f"{name}.csv")
    return [replace(one, fold=split.fold_of(one.file)) for one in specimens]
