"""Three made strip frames with known defects, written in every layout in which whole frames are judged.

Defects are rectangles, so that each layout can say the same of them and every figure can be told by hand.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from made_own import put_picture, runs
from made_pictures import texture, write_table

LINES, WIDTH = 256, 1600
RECTANGLES: dict[str, tuple[tuple[int, int, int, int, int], ...]] = {
    "a.png": ((3, 100, 20, 140, 120), (1, 500, 200, 520, 230)),
    "b.png": (),
    "c.png": ((4, 0, 0, 300, 256),),
}
"""By frame: Kaggle's class, then x0, y0, x1, y1 in pixels, half-open."""
LABELS = {"a.png": "1+3", "b.png": "ok", "c.png": "4"}


def gray(name: str) -> np.ndarray:
    return np.maximum(texture(ord(name[0]), LINES, WIDTH), 60)


def mask(name: str) -> np.ndarray:
    drawn = np.zeros((LINES, WIDTH), np.uint8)
    for value, x0, y0, x1, y1 in RECTANGLES[name]:
        drawn[y0:y1, x0:x1] = value
    return drawn


def as_tables(root: Path) -> None:
    """labels.csv and masks/, without a mask for the clean frame."""
    for name, defects in RECTANGLES.items():
        put_picture(root / "images" / name, gray(name))
        if defects:
            put_picture(root / "masks" / name, mask(name))
    write_table(root / "labels.csv", ["file", "defect_classes"], [[name, label] for name, label in LABELS.items()])


def kaggle_rle(drawn: np.ndarray) -> str:
    """Return Kaggle's code: 1-based starts and lengths, by columns."""
    lengths = runs(drawn.astype(np.uint8), "F")
    starts = np.cumsum([0, *lengths])[:-1] + 1
    return " ".join(f"{start} {length}" for start, length in list(zip(starts, lengths, strict=True))[1::2])


def as_kaggle(
    root: Path, columns: Sequence[str] = ("ImageId", "ClassId", "EncodedPixels"), folder: str = "train_images"
) -> None:
    for name in RECTANGLES:
        put_picture(root / folder / name, gray(name))
    rows = [
        {"ImageId": name, "ClassId": str(value), "EncodedPixels": kaggle_rle(mask(name) == value)}
        for name in RECTANGLES
        for value, *_ in RECTANGLES[name]
    ]
    write_table(root / "train.csv", list(columns), [[row[column] for column in columns] for row in rows])


def as_kaggle_turned(root: Path) -> None:
    as_kaggle(root, ("ClassId", "EncodedPixels", "ImageId"), "images")


def as_old_kaggle(root: Path) -> None:
    """ImageId_ClassId with four rows a frame, beside the frames."""
    rows = []
    for name, defects in RECTANGLES.items():
        put_picture(root / name, gray(name))
        there = {value for value, *_ in defects}
        rows += [
            [f"{name}_{value}", kaggle_rle(mask(name) == value) if value in there else ""] for value in range(1, 5)
        ]
    write_table(root / "train.csv", ["ImageId_ClassId", "EncodedPixels"], rows)


def as_masks(root: Path) -> None:
    for name in RECTANGLES:
        put_picture(root / "images" / name, gray(name))
        put_picture(root / "masks" / name, mask(name))


def as_masks_beside(root: Path) -> None:
    for name in RECTANGLES:
        path = root / name
        put_picture(path, gray(name))
        put_picture(path.with_stem(f"{path.stem}_mask"), mask(name))


def coco_counts(drawn: np.ndarray) -> str:
    """Return COCO's compressed run lengths."""
    counts, text = runs(drawn.astype(np.uint8), "F"), ""
    for at, count in enumerate(counts):
        value = count - counts[at - 2] if at > 2 else count
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(48 + (digit | 32 if more else digit))
    return text


def _polygon(drawn: np.ndarray, box: tuple[int, int, int, int]) -> list[list[int]]:
    x0, y0, x1, y1 = box
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def _plain_runs(drawn: np.ndarray, box: tuple[int, int, int, int]) -> dict[str, object]:
    return {"size": [LINES, WIDTH], "counts": runs(drawn.astype(np.uint8), "F")}


def _compressed_runs(drawn: np.ndarray, box: tuple[int, int, int, int]) -> dict[str, object]:
    return {"size": [LINES, WIDTH], "counts": coco_counts(drawn)}


def as_coco(root: Path, outline: Callable[[np.ndarray, tuple[int, int, int, int]], object] | None) -> None:
    images, annotations = [], []
    for number, name in enumerate(RECTANGLES):
        put_picture(root / "images" / name, gray(name))
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": LINES})
        for value, x0, y0, x1, y1 in RECTANGLES[name]:
            drawn = np.zeros((LINES, WIDTH), np.uint8)
            drawn[y0:y1, x0:x1] = 1
            one: dict[str, object] = {"id": len(annotations), "image_id": number, "category_id": value}
            one["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            if outline is not None:
                one["segmentation"] = outline(drawn, (x0, y0, x1, y1))
            annotations.append(one)
    categories = [{"id": value, "name": str(value)} for value in range(1, 5)]
    body = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(body))


FRAME_LAYOUTS: dict[str, Callable[[Path], None]] = {
    "tables": as_tables,
    "kaggle": as_kaggle,
    "kaggle, columns turned": as_kaggle_turned,
    "kaggle, one column": as_old_kaggle,
    "masks": as_masks,
    "masks beside": as_masks_beside,
    "coco, polygons": lambda root: as_coco(root, _polygon),
    "coco, runs": lambda root: as_coco(root, _plain_runs),
    "coco, compressed runs": lambda root: as_coco(root, _compressed_runs),
    "coco, boxes": lambda root: as_coco(root, None),
}
