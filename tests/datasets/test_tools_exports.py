"""Folders as annotation tools and people leave them: taken as they are, or refused with the file that is at fault."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from made_own import put_picture
from made_pictures import texture

from linewatch.datasets import DataSet, DatasetError, Knowledge, open_set
from linewatch.datasets.check import problems

LINES, WIDTH = 64, 80
CLASSES = ("scratch", "scale")


def pictures(folder: Path, count: int = 4, stem: str = "a") -> list[str]:
    names = [f"{stem}{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        put_picture(folder / name, texture(number, LINES, WIDTH))
    return names


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def own(root: Path, **how: str) -> DataSet:
    return open_set("mine", root, **how)  # type: ignore[arg-type]


def found(data_set: DataSet) -> dict[str, int]:
    assert problems(data_set) == []
    return {label: sum(label in one.labels for one in data_set.specimens) for label in data_set.labels}


def boxes(data_set: DataSet) -> set[tuple[str, int, int, int, int]]:
    return {(box.label, box.x0, box.y0, box.x1, box.y1) for one in data_set.specimens for box in one.boxes}


def voc(name: str, label: str) -> str:
    corners = "".join(
        f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), (5, 6, 20, 30), strict=True)
    )
    inside = f"<object><name>{label}</name><bndbox>{corners}</bndbox></object>"
    return f"<annotation><filename>{name}</filename>{inside}</annotation>"


@pytest.mark.parametrize(
    ("images", "annotations"),
    [("", ""), ("train", "train"), ("train/images", "train/annotations"), ("train/images/scratch", "train/xml")],
)
def test_annotations_of_voc_are_read_wherever_they_are(images: str, annotations: str, tmp_path: Path) -> None:
    for number, name in enumerate(pictures(tmp_path / images)):
        write(tmp_path / annotations / f"{Path(name).stem}.xml", voc(name, CLASSES[number % 2]))
    data_set = own(tmp_path)
    assert data_set.recognised.startswith("voc, because of ")
    assert found(data_set) == {"scale": 2, "scratch": 2}
    assert boxes(data_set) == {("scale", 5, 6, 20, 30), ("scratch", 5, 6, 20, 30)}


def test_a_white_mask_of_voc_shows_the_class_of_the_boxes(tmp_path: Path) -> None:
    """White is number 255, which is the void border of VOC's own masks: the defect must not become clean steel."""
    drawn = np.zeros((LINES, WIDTH), np.uint8)
    drawn[6:30, 5:20] = 255
    for number, name in enumerate(pictures(tmp_path / "JPEGImages")):
        write(tmp_path / "Annotations" / f"{Path(name).stem}.xml", voc(name, CLASSES[number % 2]))
        put_picture(tmp_path / "SegmentationClass" / name, drawn)
    data_set = own(tmp_path)
    assert found(data_set) == {"scale": 2, "scratch": 2}
    for one in data_set.specimens:
        assert one.knowledge is Knowledge.OUTLINED
        assert np.array_equal(one.mask() > 0, drawn > 0)


@pytest.mark.parametrize(
    ("names", "value", "text"),
    [
        ("background\nscratch\nscale\n", 255, "number 255, which class_names.txt does not name"),
        ("background\nscratch\nscale\n", 2, "does not show scratch, of which the image has boxes"),
        ("background\nscratch\nscale\n", 0, "does not show scratch, of which the image has boxes"),
    ],
)
def test_a_class_that_is_boxed_and_not_in_the_mask_is_not_lost(
    names: str, value: int, text: str, tmp_path: Path
) -> None:
    (name,) = pictures(tmp_path / "JPEGImages", 1)
    write(tmp_path / "Annotations" / "a0.xml", voc(name, "scratch"))
    put_picture(tmp_path / "SegmentationClass" / name, np.full((LINES, WIDTH), value, np.uint8))
    write(tmp_path / "class_names.txt", names)
    assert text in "\n".join(map(str, problems(own(tmp_path))))


def yolo(root: Path, images: str = "images", labels: str = "labels", row: str = "{} 0.5 0.5 0.25 0.25") -> None:
    for number, name in enumerate(pictures(root / images)):
        write(root / labels / f"{Path(name).stem}.txt", row.format(number % 2))


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        ("images", "labels", "labels/labels.txt"),  # makesense.ai
        ("images/train", "labels/train", "labels/train/classes.txt"),  # LabelImg
        ("train", "train", "train/classes.txt"),
        ("Images", "Labels", "classes.txt"),
        ("train/IMAGES", "train/Labels", "classes.txt"),
        ("mill.v1i.yolov8/train/images", "mill.v1i.yolov8/train/labels", "mill.v1i.yolov8/classes.txt"),
    ],
)
def test_names_of_yolo_are_found_beside_the_labels(images: str, labels: str, names: str, tmp_path: Path) -> None:
    yolo(tmp_path, images, labels)
    write(tmp_path / names, "scratch\nscale\n")
    assert found(own(tmp_path)) == {"scale": 2, "scratch": 2}
    assert boxes(own(tmp_path)) == {("scale", 30, 24, 50, 40), ("scratch", 30, 24, 50, 40)}


def test_a_class_number_with_a_point_is_a_number(tmp_path: Path) -> None:
    yolo(tmp_path, row="{}.0 0.5 0.5 0.25 0.25")
    write(tmp_path / "classes.txt", "scratch\nscale\n")
    assert found(own(tmp_path)) == {"scale": 2, "scratch": 2}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"classes.txt": "Krätzer\nscale\n".encode("latin-1")}, "classes.txt: expected text in UTF-8"),
        ({"data.yaml": "names: [no, scale]"}, "found the YAML word for false; put the name in quotes"),
        (
            {"labels/classes.txt": "scratch\nscale\n", "labels/more/classes.txt": "scale\nscratch\n"},
            "names other classes than .*labels/classes.txt",
        ),
    ],
)
def test_names_of_yolo_that_cannot_be_meant_are_refused(files: dict, text: str, tmp_path: Path) -> None:
    yolo(tmp_path)
    if "labels/more/classes.txt" in files:
        yolo(tmp_path, "images/more", "labels/more")
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(DatasetError, match=text):
        own(tmp_path)


def coco(root: Path, file: str = "annotations.json", **changes: list) -> None:
    names = pictures(root / "images")
    body = {
        "images": [{"id": at, "file_name": name} for at, name in enumerate(names)],
        "annotations": [
            {"id": at, "image_id": at, "category_id": at % 2, "bbox": [5, 6, 15, 24], "segmentation": [[]]}
            for at in range(len(names))
        ],
        "categories": [{"id": at, "name": name} for at, name in enumerate(CLASSES)],
    }
    write(root / file, json.dumps({**body, **changes}))


@pytest.mark.parametrize("file", ["_annotations.coco.json", "export/v1/instances.json"])
def test_coco_is_read_wherever_it_is_and_an_empty_polygon_is_a_box(file: str, tmp_path: Path) -> None:
    coco(tmp_path, file)
    assert found(own(tmp_path)) == {"scale": 2, "scratch": 2}
    assert boxes(own(tmp_path)) == {("scale", 5, 6, 20, 30), ("scratch", 5, 6, 20, 30)}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"categories": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}, "categories have the same id: 0"),
        ({"categories": [{"id": 0, "name": None}, {"id": 1, "name": "b"}]}, "expected a text as name of each category"),
        ({"images": [{"id": 0, "file_name": "a0.png"}, {"id": 0, "file_name": "a1.png"}]}, "images have the same id"),
        ({"images": [{"id": [0], "file_name": "a0.png"}]}, "expected an id for each of the images"),
    ],
)
def test_coco_whose_marks_could_go_astray_is_refused(changes: dict, text: str, tmp_path: Path) -> None:
    coco(tmp_path, **changes)
    with pytest.raises(DatasetError, match=text):
        own(tmp_path)


@pytest.mark.parametrize("image_id", [[0], {"id": 0}, None])
def test_an_annotation_of_no_image_is_a_problem(image_id: object, tmp_path: Path) -> None:
    coco(tmp_path, annotations=[{"id": 1, "image_id": image_id, "category_id": 0, "bbox": [1, 1, 9, 9]}])
    assert "which the file does not list" in str(own(tmp_path).problems[0])


@pytest.mark.parametrize("mark", [{"bbox": [0.1, 0.1, 0.6, 0.6]}, {"segmentation": [[0.1, 0.1, 0.6, 0.1, 0.6, 0.6]]}])
def test_shares_of_the_size_are_no_pixels(mark: dict, tmp_path: Path) -> None:
    coco(tmp_path, annotations=[{"id": 1, "image_id": 0, "category_id": 0, **mark}])
    (problem,) = problems(own(tmp_path))
    assert "expected pixels, not shares of the size" in problem.text


def test_a_mark_of_labelme_without_a_name_is_a_problem_and_not_clean_steel(tmp_path: Path) -> None:
    (name,) = pictures(tmp_path, 1)
    shape = {"label": None, "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    write(tmp_path / "a0.json", json.dumps({"version": "5", "flags": {}, "shapes": [shape], "imagePath": name}))
    (problem,) = problems(own(tmp_path))
    assert "its label is None, expected the name of a class" in problem.text


ROWS = "".join(f"a{at}.png;{CLASSES[at % 2]}\n" for at in range(4))
ONE_HOT = "".join(f"a{at}.png,{{{at % 2}}},{{{1 - at % 2}}}\n" for at in range(4))


@pytest.mark.parametrize(
    "table",
    [
        f"sep=;\r\nfile;class\r\n{ROWS}",
        f"file;class\r{ROWS}".replace("\n", "\r"),
        f"file;class\r\n{ROWS}".encode("utf-16-le"),
        "file,scale,scratch\n" + ONE_HOT.format("0.0", "1.0"),
        "file,scale,scratch\n" + ONE_HOT.format("False", "True"),
    ],
)
def test_tables_as_programs_write_them(table: str | bytes, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    write(tmp_path / "labels.csv", table)
    assert found(own(tmp_path)) == {"scale": 2, "scratch": 2}


def test_a_decimal_comma_is_a_decimal_point(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 1)
    write(tmp_path / "labels.csv", "file;class;xmin;ymin;xmax;ymax\na0.png;dent;5,25;6;20,5;30,75\n")
    assert boxes(own(tmp_path)) == {("dent", 5, 6, 20, 31)}


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 1)
    write(tmp_path / "labels.csv", "file,class,x,y\na0.png,dent,5,6\n")
    assert "columns that are not read: x, y" in own(tmp_path).notes


def test_tables_of_parts_are_one_set(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        names = pictures(tmp_path / part)
        rows = "".join(f"{name},{CLASSES[at % 2]},5,6,20,30\n" for at, name in enumerate(names))
        write(tmp_path / part / "_annotations.csv", f"filename,class,xmin,ymin,xmax,ymax\n{rows}")
    data_set = own(tmp_path)
    assert found(data_set) == {"scale": 4, "scratch": 4}
    assert {one.file for one in data_set.specimens} == {f"{p}/a{at}.png" for p in ("train", "valid") for at in range(4)}


def test_a_name_is_the_same_with_an_umlaut_of_one_letter_or_of_two(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "Rückseite") for form in ("NFC", "NFD"))
    names = pictures(tmp_path / "images", 2, two)
    rows = "".join(
        f"{unicodedata.normalize('NFC', name)},{label}\n" for name, label in zip(names, (one, two), strict=True)
    )
    write(tmp_path / "labels.csv", f"file,class\n{rows}")
    assert found(own(tmp_path)) == {one: 2}


@pytest.mark.parametrize("clean", ["gut", "i.O.", "No-Defect", "non_defective"])
def test_other_words_for_clean_steel(clean: str, tmp_path: Path) -> None:
    """An image that is called so and has defects is a contradiction; of any other two words it shows both."""
    pictures(tmp_path / "images", 1)
    write(tmp_path / "labels.csv", f"file,class\na0.png,{clean}\na0.png,scratch\n")
    assert f"is labelled {clean} and scratch" in own(tmp_path).problems[0].text


def test_folders_whose_images_a_foreign_file_names_are_no_classes(tmp_path: Path) -> None:
    for line in ("line1", "line2"):
        pictures(tmp_path / line, stem=line)
    write(tmp_path / "via_region_data.json", json.dumps({"line10.png123": {"filename": "line10.png", "regions": []}}))
    with pytest.raises(DatasetError, match=r"via_region_data\.json: names line10\.png .* --layout folders"):
        own(tmp_path)
    assert found(own(tmp_path, layout="folders")) == {"line1": 4, "line2": 4}


def test_folders_of_classes_below_folders_of_coils_are_not_taken_for_coils(tmp_path: Path) -> None:
    for coil in ("coil1", "coil2"):
        for label in ("ok", "scratch"):
            pictures(tmp_path / coil / label)
    with pytest.raises(DatasetError, match="coil1/ok: lies below coil1/, which would be the class"):
        own(tmp_path)


def test_folders_inside_a_class_are_told(tmp_path: Path) -> None:
    for label in CLASSES:
        pictures(tmp_path / label / "monday")
    assert "folders inside a class, whose images are of that class: 2 (scale/monday, scratch/monday)" in (
        own(tmp_path).notes
    )


def test_what_a_mac_adds_to_an_archive_is_no_class(tmp_path: Path) -> None:
    for label in CLASSES:
        pictures(tmp_path / label)
    write(tmp_path / "__MACOSX" / "scratch" / "._a0.png", b"Mac OS X")
    assert found(own(tmp_path)) == {"scale": 4, "scratch": 4}


@pytest.mark.parametrize("images", ["", "images"])
def test_parts_of_coco_whose_images_have_the_same_names_stay_apart(images: str, tmp_path: Path) -> None:
    """As COCO itself: annotations/instances_train.json and train/, instances_val.json and val/."""
    for number, part in enumerate(("train", "val")):
        (name,) = pictures(tmp_path / images / part, 1)
        body = {
            "images": [{"id": 0, "file_name": name}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": number, "bbox": [5, 6, 15, 24]}],
            "categories": [{"id": at, "name": name} for at, name in enumerate(CLASSES)],
        }
        write(tmp_path / "annotations" / f"instances_{part}.json", json.dumps(body))
    data_set = own(tmp_path)
    assert found(data_set) == {"scale": 1, "scratch": 1}
    assert {one.path.parent.name: one.labels for one in data_set.specimens} == {
        "train": ("scratch",),
        "val": ("scale",),
    }


def test_annotations_in_json_are_no_classes(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 1)
    write(tmp_path / "labels.csv", 'image,label\na0.png,"[{""x"":1,""rectanglelabels"":[""scratch""]}]"\n')
    assert "is an annotation in JSON, expected a class" in own(tmp_path).problems[0].text
