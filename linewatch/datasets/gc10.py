"""GC10-DET (Lv et al. 2020, Sensors 20, 1562), the "Defect" set of Apostolopoulos & Tzani: sheet steel, 3,570 gray
images of 2048 x 1000 px of ten classes, with boxes.

From https://github.com/lvxiaoming2019/GC10-DET-Metallic-Surface-Defect-Datasets. Terms: for research; cite the paper.
Layouts: folders ``1`` to ``10`` with images and ``lable/*.xml`` (sic; or ``label``), as downloaded; the same folders
under the names of their classes; ``labels.csv`` and ``images/``. An image lies in the folder of its class; boxes may
name others as well. Names like
``img_02_425508300_00018.jpg`` are camera, recording and frame: a recording is one group.
"""

from __future__ import annotations

import re
from pathlib import Path

from linewatch.datasets.layout import folders_of, images, of_table, unknown_layout, voc_boxes
from linewatch.datasets.specimen import Knowledge, LabelBox, Specimen

NAME = "gc10"
LABELS = (
    "punching_hole",
    "welding_line",
    "crescent_gap",
    "water_spot",
    "oil_spot",
    "silk_spot",
    "inclusion",
    "rolled_pit",
    "crease",
    "waist_folding",
)
"""In the order of the folders 1 to 10."""


def read(root: Path) -> list[Specimen]:
    """Read the set; the folder's label comes first, then those of the boxes."""
    if (root / "labels.csv").is_file():
        return of_table(NAME, root)
    label_of = {str(number): label for number, label in enumerate(LABELS, 1)} | {label: label for label in LABELS}
    folders = folders_of(root, tuple(label_of))
    if not folders:
        raise unknown_layout(
            NAME, root, ("folders 1 to 10 and lable/*.xml", "folders of the classes' names", "labels.csv and images/")
        )
    marks = next(iter(folders_of(root, ("lable", "label", "annotations")).values()), None)
    found = []
    for name, folder in folders.items():
        for path in images(folder):
            mark = marks / f"{path.stem}.xml" if marks else None
            boxes = [_named(box) for box in voc_boxes(mark)] if mark and mark.is_file() else []
            recording = re.match(r"(img_\d+_\d+)_\d+", path.stem)
            found.append(
                Specimen(
                    data_set=NAME,
                    file=path.relative_to(root).as_posix(),
                    fold=None,
                    knowledge=Knowledge.LABELLED,
                    labels=tuple(dict.fromkeys([label_of[name], *(box.label for box in boxes)])),
                    path=path,
                    boxes=tuple(boxes),
                    group=recording.group(1) if recording else None,
                )
            )
    return found


def _named(box: LabelBox) -> LabelBox:
    """The annotations call classes ``1_chongkong`` ... ``10_yaozhe``; the number is the folder's."""
    number = re.match(r"(\d+)", box.label)
    name = LABELS[int(number.group(1)) - 1] if number and 1 <= int(number.group(1)) <= 10 else box.label
    return LabelBox(name, box.x0, box.y0, box.x1, box.y1)
