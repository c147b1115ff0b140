"""Magnetic-tile defects (Huang et al. 2018): 1,344 gray images of magnets, 103-632 x 222-403 px, with masks.

From https://github.com/abin24/Magnetic-tile-defect-datasets. Terms: "It is welcomed to use our dataset"; cite the
paper. Layouts: ``labels.csv``, ``images/``, ``masks/``; the download's, ``MT_Blowhole/Imgs/*.jpg`` with a mask
``.png`` beside each. A tile was taken under up to six exposures, ``exp1_num_108719``: one number is one group.
"""

from __future__ import annotations

import re
from pathlib import Path

from linewatch.datasets.layout import folders_of, images, table, unknown_layout
from linewatch.datasets.specimen import Knowledge, Specimen

NAME = "magnetic_tile"
LABELS = ("blowhole", "break", "crack", "fray", "free", "uneven")


def read(root: Path) -> list[Specimen]:
    """Read the set, one label and one mask per image; the mask of a free tile is empty."""
    if (root / "labels.csv").is_file():
        return [
            _specimen(
                row["file"],
                row["class"],
                root / "images" / row["file"],
                root / "masks" / f"{Path(row['file']).stem}.png",
            )
            for row in table(root / "labels.csv", "file", "class")
        ]
    folders = folders_of(root, [f"MT_{label}" for label in LABELS])
    if not folders:
        raise unknown_layout(NAME, root, ("labels.csv, images/ and masks/", "MT_Blowhole/Imgs, MT_Break/Imgs ..."))
    return [
        _specimen(path.relative_to(root).as_posix(), name.removeprefix("MT_"), path, path.with_suffix(".png"))
        for name, folder in folders.items()
        for path in images(folder / "Imgs" if (folder / "Imgs").is_dir() else folder)
        if path.suffix.lower() in (".jpg", ".jpeg")
    ]


def _specimen(file: str, label: str, path: Path, mask: Path) -> Specimen:
    number = re.search(r"num_(\d+)", file)
    return Specimen(
        data_set=NAME,
        file=file,
        fold=None,
        knowledge=Knowledge.OUTLINED,
        labels=(label,),
        path=path,
        mask_path=mask,
        mask_labels=(label,),
        group=number.group(1) if number else None,
    )
