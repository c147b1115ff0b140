"""NEU surface defect database (Song & Yan 2013), hot-rolled strip: 300 patches of 200 x 200 px of each of six classes.

From http://faculty.neu.edu.cn/songkechen/zh_CN/zdylm/263270 (NEU-CLS, and NEU-DET with boxes) or Kaggle
(kaustubhdikshit/neu-surface-defect-database). Terms: "the open surface defect database"; cite Song & Yan 2013. Masks of
three classes: SD-saliency-900 (Song, Song & Yan 2020).

Layouts: ``labels.csv``, ``images/``, ``boxes.csv``, ``masks/``; NEU-CLS, ``Cr_1.bmp`` or ``crazing_1.jpg`` in one
folder; NEU-DET, ``IMAGES/`` and ``ANNOTATIONS/*.xml``; Kaggle's, ``train|validation/{images/CLASS,annotations}``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from linewatch.datasets.layout import folders_of, images, table, unknown_layout, voc_boxes, whole
from linewatch.datasets.specimen import Knowledge, LabelBox, Specimen

NAME = "neu"
LABELS = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")
SHORT = {"cr": LABELS[0], "in": LABELS[1], "pa": LABELS[2], "ps": LABELS[3], "rs": LABELS[4], "sc": LABELS[5]}
MASKED = {"inclusion", "patches", "scratches"}


def read(root: Path) -> list[Specimen]:
    """Read the set; a patch's labels are its own and those of its boxes, since some patches are mixed."""
    if (root / "labels.csv").is_file():
        return _tables(root)
    parts = list(folders_of(root, ("train", "validation")).values()) or [root]
    found = []
    for part in parts:
        folders = folders_of(part, ("images", "annotations"))
        inside = folders.get("images", part)
        marks = folders.get("annotations")
        named = [path for folder in [inside, *folders_of(inside, LABELS).values()] for path in images(folder)]
        for path in named:
            label = label_of(path.name)
            if label is None:
                continue
            boxes = voc_boxes(marks / f"{path.stem}.xml") if marks and (marks / f"{path.stem}.xml").is_file() else []
            found.append(_specimen(path.relative_to(root).as_posix(), label, path, boxes, None))
    if not found:
        raise unknown_layout(
            NAME, root, ("labels.csv and images/", "Cr_1.bmp ... or crazing_1.jpg ...", "IMAGES/ and ANNOTATIONS/")
        )
    return found


def label_of(file: str) -> str | None:
    """Return the class in a file name such as `Cr_1.bmp` or `crazing_1.jpg`; None for another name."""
    name = re.match(r"(.+?)_\d+\.\w+$", file)
    if name is None:
        return None
    word = name.group(1).lower()
    return SHORT.get(word, word if word in LABELS else None)


def _tables(root: Path) -> list[Specimen]:
    boxes: dict[str, list[LabelBox]] = defaultdict(list)
    if (root / "boxes.csv").is_file():
        for row in table(root / "boxes.csv", "file", "class", "xmin", "ymin", "xmax", "ymax"):
            x0, y0, x1, y1 = (whole(root / "boxes.csv", row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            boxes[row["file"]].append(LabelBox(row["class"], x0, y0, x1, y1))
    masks = root / "masks"
    return [
        _specimen(
            row["file"],
            row["class"],
            root / "images" / row["file"],
            boxes[row["file"]],
            masks / f"{Path(row['file']).stem}.png" if row["class"] in MASKED and masks.is_dir() else None,
        )
        for row in table(root / "labels.csv", "file", "class")
    ]


def _specimen(file: str, label: str, path: Path, boxes: list[LabelBox], mask: Path | None) -> Specimen:
    return Specimen(
        data_set=NAME,
        file=file,
        fold=None,
        knowledge=Knowledge.OUTLINED if mask else Knowledge.LABELLED,
        labels=tuple(dict.fromkeys([label, *(box.label for box in boxes)])),
        path=path,
        mask_path=mask,
        mask_labels=(label,) if mask else (),
        boxes=tuple(boxes),
    )
