"""Data sets: an adapter for each, their splits into folds, and checks.

Start with `open_set`, which reads a set in any of its layouts and returns a `DataSet` of `Specimen`s. Each set has a
file of its own (`own` reads users' own sets); `arguments` parses `--data`, `splits` and `parts` divide a set,
`check.problems` checks it before a training starts. Adapters read tables and list files; images are decoded on access.
Anything unexpected raises `DatasetError` with the name of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from linewatch.datasets import (
    casting,
    elpv,
    gc10,
    itodd,
    magnetic_tile,
    neu,
    own,
    sdnet2018,
    severstal,
    severstal_frames,
    xsdd,
)
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own import Unmarked
from linewatch.datasets.shapes import decode_kaggle_rle
from linewatch.datasets.specimen import (
    DataSet,
    Knowledge,
    LabelBox,
    Specimen,
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

_MODULES = (neu, severstal, severstal_frames, xsdd, magnetic_tile, elpv, gc10, casting, sdnet2018, itodd)
ADAPTERS: dict[str, Callable[[Path], list[Specimen]]] = {module.NAME: module.read for module in _MODULES}
LABELS: dict[str, tuple[str, ...]] = {module.NAME: module.LABELS for module in _MODULES}


def open_set(
    name: str,
    root: Path,
    splits: Path = SPLITS,
    layout: str | None = None,
    unmarked: Unmarked = "unknown",
    house: Mapping[str, str] | None = None,
) -> DataSet:
    """Return the set `name` in the folder `root`; an unknown name, or one with a `layout`, is a user's own set.

    Images in the committed split get their fold. layout, unmarked, house: of an own set, see `own.read`. `DatasetError`
    if the folder has no known layout, or several.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; --data NAME=DIR names the set's own folder")
    if name in ADAPTERS and layout is None:
        data_set = DataSet(name, root, LABELS[name], tuple(ADAPTERS[name](root)))
    else:
        data_set = own.read(name, root, layout, unmarked, house)
    table = splits / f"{name}.csv"
    folds = {one.file: one.fold for one in Split.read(table).assignments} if table.is_file() else {}
    labels = LABELS.get(name) or data_set.labels
    unknown = sorted({label for one in data_set.specimens for label in one.labels} - set(labels))
    if unknown:
        raise DatasetError(f"{root}: labels {', '.join(unknown)}, expected {', '.join(labels)} of {name}; correct them")
    found = tuple(replace(one, fold=folds.get(one.file)) for one in data_set.specimens)
    return replace(data_set, labels=labels, specimens=found)


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
