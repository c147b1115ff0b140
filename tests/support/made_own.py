"""One set of 48 made pictures, written in every layout that users' own sets have.

A quarter of the pictures is free of defects. The other classes are drawn as polygons: a rectangle, a triangle and a
turned bar, so that every outline can be written as polygon, run lengths or mask.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from made_pictures import texture, write_table

LINES, WIDTH = 64, 80
CLASSES = ("dent", "scale", "scratch")


@dataclass(frozen=True)
class OwnPicture:
    name: str
    label: str | None
    points: tuple[tuple[float, float], ...]
    gray: np.ndarray
    mask: np.ndarray

    @property
    def box(self) -> tuple[float, float, float, float]:
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def own_pictures(count: int = 48) -> list[OwnPicture]:
    return [_picture(number) for number in range(count)]


def _picture(number: int) -> OwnPicture:
    label = (None, *CLASSES)[number % 4]
    x, y = 6.0 + 3 * (number % 16), 5.0 + 2 * (number % 13)
    points = {
        None: (),
        "dent": ((x, y), (x + 14, y), (x + 14, y + 9), (x, y + 9)),
        "scale": ((x, y), (x + 20, y + 5), (x + 6, y + 24)),
        "scratch": ((x, y), (x + 3, y - 2), (x + 17, y + 22), (x + 14, y + 24)),
    }[label]
    gray, mask = texture(number, LINES, WIDTH), np.zeros((LINES, WIDTH), np.uint8)
    if label is not None:
        mask = np.array([[_inside(points, column, line) for column in range(WIDTH)] for line in range(LINES)], np.uint8)
        gray[mask > 0] = {"dent": 20, "scale": 200, "scratch": 250}[label]
    return OwnPicture(f"p{number}.png", label, points, gray, mask)


def _inside(points: tuple[tuple[float, float], ...], column: int, line: int) -> bool:
    return cv2.pointPolygonTest(np.array(points, np.float32), (column + 0.5, line + 0.5), measureDist=False) > 0


def put_picture(path: Path, gray: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), gray)
    return path


def as_csv(root: Path, pictures: list[OwnPicture]) -> None:
    for one in pictures:
        put_picture(root / "images" / one.name, one.gray)
        put_picture(root / "masks" / one.name, one.mask * 255)
    write_table(root / "labels.csv", ["file", "class"], [[one.name, one.label or "ok"] for one in pictures])


def as_folders(root: Path, pictures: list[OwnPicture]) -> None:
    for one in pictures:
        put_picture(root / (one.label or "ok") / one.name, one.gray)


def runs(mask: np.ndarray, order: str) -> list[int]:
    flat = mask.flatten(order=order)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()


def as_coco(root: Path, pictures: list[OwnPicture]) -> None:
    """Polygons, and run lengths of every other one."""
    images, annotations = [], []
    for number, one in enumerate(pictures):
        put_picture(root / "images" / one.name, one.gray)
        images.append({"id": number, "file_name": one.name, "width": WIDTH, "height": LINES})
        if one.label is not None:
            x0, y0, x1, y1 = one.box
            polygon = [[value for point in one.points for value in point]]
            annotations.append(
                {
                    "id": 1000 + number,
                    "image_id": number,
                    "category_id": 7 * (1 + CLASSES.index(one.label)),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": number % 2,
                    "segmentation": {"size": [LINES, WIDTH], "counts": runs(one.mask, "F")} if number % 2 else polygon,
                }
            )
    categories = [{"id": 7 * (1 + at), "name": name} for at, name in enumerate(CLASSES)]
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_default.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def as_yolo(root: Path, pictures: list[OwnPicture], boxes: bool = False) -> None:
    for number, one in enumerate(pictures):
        part = "val" if number % 5 == 0 else "train"
        put_picture(root / "images" / part / one.name, one.gray)
        text = ""
        if one.label is not None:
            x0, y0, x1, y1 = one.box
            values = (
                [(x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / LINES, (x1 - x0) / WIDTH, (y1 - y0) / LINES]
                if boxes
                else [value / size for point in one.points for value, size in zip(point, (WIDTH, LINES), strict=True)]
            )
            text = f"{CLASSES.index(one.label)} " + " ".join(f"{value:.6f}" for value in values) + "\n"
        label = root / "labels" / part / f"{Path(one.name).stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    names = "\n".join(f"  {at}: {name}" for at, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(f"path: ../elsewhere\ntrain: images/train\nval: images/val\nnames:\n{names}\n")


def as_yolo_boxes(root: Path, pictures: list[OwnPicture]) -> None:
    as_yolo(root, pictures, boxes=True)


VOC_OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def as_voc(root: Path, pictures: list[OwnPicture]) -> None:
    """Masks with a palette, named by class_names.txt, and boxes."""
    from PIL import Image

    as_voc_boxes(root, pictures)
    (root / "SegmentationClass").mkdir()
    for one in pictures:
        value = 0 if one.label is None else 1 + CLASSES.index(one.label)
        mask = Image.fromarray((one.mask * value).astype(np.uint8), mode="P")
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
        mask.save(root / "SegmentationClass" / one.name)
    (root / "class_names.txt").write_text("\n".join(("_background_", *CLASSES)))


def as_voc_boxes(root: Path, pictures: list[OwnPicture]) -> None:
    (root / "Annotations").mkdir(parents=True)
    for one in pictures:
        put_picture(root / "JPEGImages" / one.name, one.gray)
        objects = "" if one.label is None else VOC_OBJECT.format(one.label, *one.box)
        (root / "Annotations" / f"{Path(one.name).stem}.xml").write_text(
            f"<annotation><filename>old_name.png</filename><size><width>{WIDTH}</width><height>{LINES}</height>"
            f"<depth>1</depth></size>{objects}</annotation>"
        )
    parts = root / "ImageSets" / "Main"
    parts.mkdir(parents=True)
    (parts / "train.txt").write_text("\n".join(Path(one.name).stem for one in pictures))


def as_labelme(root: Path, pictures: list[OwnPicture]) -> None:
    """Polygons; every fourth picture is inside its file only."""
    for number, one in enumerate(pictures):
        path = put_picture(root / one.name, one.gray)
        shapes = [{"label": one.label, "points": one.points, "shape_type": "polygon"}] if one.label else []
        body = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": one.name,
            "imageData": base64.b64encode(path.read_bytes()).decode() if number % 4 == 1 else None,
            "imageHeight": LINES,
            "imageWidth": WIDTH,
        }
        path.with_suffix(".json").write_text(json.dumps(body))
        if number % 4 == 1:
            path.unlink()


def as_cvat(root: Path, pictures: list[OwnPicture]) -> None:
    """Polygons, and masks of every other one."""
    rows = []
    for number, one in enumerate(pictures):
        put_picture(root / "images" / one.name, one.gray)
        mark = ""
        if one.label is not None and number % 2:
            ys, xs = np.nonzero(one.mask)
            cut = one.mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            lengths = ", ".join(map(str, runs(cut, "C")))
            mark = (
                f'<mask label="{one.label}" rle="{lengths}" left="{xs.min()}" top="{ys.min()}" '
                f'width="{cut.shape[1]}" height="{cut.shape[0]}" z_order="0"/>'
            )
        elif one.label is not None:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in one.points)
            mark = f'<polygon label="{one.label}" points="{points}" z_order="0"/>'
        rows.append(f'<image id="{number}" name="{one.name}" width="{WIDTH}" height="{LINES}">{mark}</image>')
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{"".join(rows)}</annotations>'
    )


Writer = Callable[[Path, list[OwnPicture]], None]
OUTLINED: dict[str, Writer] = {
    "csv": as_csv,
    "coco": as_coco,
    "yolo": as_yolo,
    "voc": as_voc,
    "labelme": as_labelme,
    "cvat": as_cvat,
}
"""The layouts that hold the outlines, too."""
WITHOUT_OUTLINES: dict[str, Writer] = {"folders": as_folders, "yolo": as_yolo_boxes, "voc": as_voc_boxes}
