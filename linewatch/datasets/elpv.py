"""ELPV (Buerhop-Lutz et al. 2018; Deitsch et al. 2019): 2,624 solar cells in electroluminescence, 300 x 300 px, each
with a probability of being defective, 0, 1/3, 2/3 or 1.

From https://github.com/zae-bayern/elpv-dataset. Terms: CC BY-NC-SA 4.0, so nothing trained on it is shipped.
Layouts: ``labels.csv`` (file,defect_prob,type) with ``images/``; the download's ``labels.csv``, blanks between
``images/cell0001.png  1.0  mono``. As in Apostolopoulos & Tzani, a probability above zero is `defective`.
"""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import table, unknown_layout
from linewatch.datasets.specimen import Knowledge, Specimen

NAME = "elpv"
LABELS = ("defective", "ok")


def read(root: Path) -> list[Specimen]:
    """Read the set; each cell is `ok` or `defective`."""
    path = root / "labels.csv"
    if not path.is_file():
        raise unknown_layout(NAME, root, ("labels.csv and images/",))
    if "," in path.read_text().partition("\n")[0]:
        rows = [(row["file"], row["defect_prob"]) for row in table(path, "file", "defect_prob")]
    else:
        split = [line.split() for line in path.read_text().splitlines() if line.strip()]
        rows = [(line[0].removeprefix("images/"), line[1] if len(line) > 1 else "") for line in split]
    return [
        Specimen(
            data_set=NAME,
            file=file,
            fold=None,
            knowledge=Knowledge.LABELLED,
            labels=("defective" if _probability(path, file, text) > 0 else "ok",),
            path=root / "images" / file,
        )
        for file, text in rows
    ]


def _probability(path: Path, file: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise DatasetError(f"{path}: {file} has probability {text!r}, expected 0 to 1")
    return value
