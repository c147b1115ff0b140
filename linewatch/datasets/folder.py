"""A user's own set: ``labels.csv`` (file,class) with ``images/`` and perhaps ``masks/``, or a folder per class.

With ``masks/`` every image has a mask of its name (.png), nonzero on the image's class.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from linewatch.datasets.layout import images, labelled, of_table, unknown_layout
from linewatch.datasets.specimen import DatasetError, Knowledge, Specimen


def read(name: str, root: Path) -> list[Specimen]:
    """Read the set, one label per image; `DatasetError` if the folder has neither layout."""
    if (root / "labels.csv").is_file():
        found = of_table(name, root)
        if not (root / "masks").is_dir():
            return found
        return [
            replace(
                one,
                knowledge=Knowledge.OUTLINED,
                mask_path=root / "masks" / f"{Path(one.file).stem}.png",
                mask_labels=one.labels,
            )
            for one in found
        ]
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = [labelled(name, path, folder.name, root) for folder in folders for path in images(folder)]
    if not found:
        raise unknown_layout(name, root, ("labels.csv and images/", "a folder of images per class"))
    empty = sorted({folder.name for folder in folders} - {one.labels[0] for one in found})
    if empty:
        raise DatasetError(f"{root / empty[0]}: a class without an image; add some or take the folder away")
    return found
