"""X-SDD (Feng, Gao & Luo 2021, Symmetry 13, 706), hot-rolled strip: 1,360 patches of 128 x 128 px of seven classes.

From https://github.com/Fighter20092392/X-SDD-A-New-benchmark. Terms: Apache-2.0; cite the paper.
Layouts: ``labels.csv`` and ``images/``; the download's, a folder per class, some with blanks in their names.
"""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.layout import folders_of, images, labelled, of_table, unknown_layout
from linewatch.datasets.specimen import Specimen

NAME = "xsdd"
LABELS = (
    "finishing_roll_printing",
    "iron_sheet_ash",
    "oxide_scale_of_plate_system",
    "oxide_scale_of_temperature_system",
    "red_iron",
    "slag_inclusion",
    "surface_scratch",
)


def read(root: Path) -> list[Specimen]:
    """Read the set, one label per image."""
    if (root / "labels.csv").is_file():
        return of_table(NAME, root)
    folders = folders_of(root, LABELS)
    if not folders:
        raise unknown_layout(NAME, root, ("labels.csv and images/", f"folders {', '.join(LABELS)}"))
    return [labelled(NAME, path, label, root) for label, folder in folders.items() for path in images(folder)]
