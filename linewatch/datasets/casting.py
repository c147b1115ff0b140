"""Casting products (Dabhi 2020): pump impellers from above, 7,348 images of 300 x 300 px (some of 512), `defective`
or `ok`.

From https://www.kaggle.com/datasets/ravirajsinh45/real-life-industrial-dataset-of-casting-product. Terms: CC
BY-NC-ND 4.0.
Layouts: ``casting_data/{train,test}/{def_front,ok_front}`` or any folder above or below that; ``labels.csv`` and
``images/``. Some of the download's images are rotated copies of one another, which the names do not show.
"""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.layout import folders_of, images, labelled, of_table, unknown_layout
from linewatch.datasets.specimen import Specimen

NAME = "casting"
LABELS = ("defective", "ok")
_FOLDERS = {"def_front": "defective", "ok_front": "ok"}


def read(root: Path) -> list[Specimen]:
    """Read the set, one label per image; train and test are one set."""
    if (root / "labels.csv").is_file():
        return of_table(NAME, root)
    inner = next(iter(folders_of(root, ("casting_data", "casting_512x512")).values()), root)
    parts = list(folders_of(inner, ("train", "test")).values()) or [inner]
    found = [
        labelled(NAME, path, _FOLDERS[name], root)
        for part in parts
        for name, folder in folders_of(part, _FOLDERS).items()
        for path in images(folder)
    ]
    if not found:
        raise unknown_layout(NAME, root, ("casting_data/train/def_front ...", "labels.csv and images/"))
    return found
