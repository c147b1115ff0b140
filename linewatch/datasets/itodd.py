"""MVTec ITODD (Drost et al. 2017), the "Tech" set of Apostolopoulos & Tzani: 28 industrial objects, of which they
take ten.

From https://www.mvtec.com/company/research/datasets/mvtec-itodd. Terms: CC BY-NC-SA 4.0. The download holds scenes
with poses, not images by object, and the paper does not say how it cut them: so a folder per object is
read, ``cylinder/*.png`` ...; or ``labels.csv`` and ``images/``. Folders of the other 18 objects
are left out.
"""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.layout import folders_of, images, labelled, of_table, unknown_layout
from linewatch.datasets.specimen import Specimen

NAME = "itodd"
LABELS = (
    "cylinder",
    "planar_bracket",
    "star",
    "fuse",
    "box",
    "round_engine_cooler",
    "cap",
    "engine_cover",
    "car_rim",
    "bracket_screw",
)


def read(root: Path) -> list[Specimen]:
    """Read the set, one label per image, of the paper's ten."""
    if (root / "labels.csv").is_file():
        return [one for one in of_table(NAME, root) if one.labels[0] in LABELS]
    folders = folders_of(root, LABELS)
    if not folders:
        raise unknown_layout(NAME, root, (f"folders {', '.join(LABELS)}", "labels.csv and images/"))
    return [labelled(NAME, path, label, root) for label, folder in folders.items() for path in images(folder)]
