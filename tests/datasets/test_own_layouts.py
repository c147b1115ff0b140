"""A user's own set is the same in every layout; what is wrong with it is told, and nothing is dropped in silence."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_own import LINES, OUTLINED, VOC_OBJECT, WIDTH, WITHOUT_OUTLINES, OwnPicture, Writer, own_pictures, put_picture
from made_pictures import REPO, texture, write_table
from PIL import Image

from linewatch.datasets import DataSet, DatasetError, Knowledge, open_set
from linewatch.datasets.check import class_counts, notes, problems
from linewatch.datasets.own import LAYOUTS
from linewatch.datasets.parts import fractions, made_split
from linewatch.datasets.shapes import Polygon, Runs, decode_coco_counts, runs_of

LABELS = ("dent", "ok", "scale", "scratch")


@pytest.fixture(scope="module")
def pictures() -> list[OwnPicture]:
    return own_pictures()


def own(root: Path, **how: str) -> DataSet:
    return open_set("mymill", root, **how)  # type: ignore[arg-type]


def told(data_set: DataSet) -> str:
    return "\n".join(map(str, problems(data_set)))


def stem(file: str) -> str:
    return Path(file).stem


@pytest.mark.parametrize("name", OUTLINED)
def test_the_same_pictures_are_the_same_set_in_every_layout(
    name: str, pictures: list[OwnPicture], tmp_path: Path
) -> None:
    OUTLINED[name](tmp_path, pictures)
    data_set = own(tmp_path)
    assert data_set.recognised.startswith(f"{name}, because of ")
    assert data_set.labels == LABELS
    assert problems(data_set) == []
    found = {stem(one.file): one for one in data_set.specimens}
    assert [stem(one.file) for one in data_set.specimens] == [stem(one.name) for one in pictures]
    for picture in pictures:
        one = found[stem(picture.name)]
        assert one.labels == (picture.label or "ok",)
        assert one.knowledge is Knowledge.OUTLINED
        assert np.array_equal(one.gray(), picture.gray)
        wrong = int(((one.mask() > 0) != picture.mask).sum())
        assert wrong <= 3, f"{picture.name}: {wrong} of {picture.mask.sum()} pixels"  # rounded polygons
        assert one.mask_labels == (() if picture.label is None else (picture.label,))


@pytest.mark.parametrize("name", WITHOUT_OUTLINES)
def test_without_outlines_the_labels_are_the_same_and_boxes_stay_boxes(
    name: str, pictures: list[OwnPicture], tmp_path: Path
) -> None:
    WITHOUT_OUTLINES[name](tmp_path, pictures)
    data_set = own(tmp_path)
    assert data_set.recognised.startswith(f"{name}, because of ")
    assert problems(data_set) == []
    found = {stem(one.file): one for one in data_set.specimens}
    assert {key: one.labels for key, one in found.items()} == {stem(p.name): (p.label or "ok",) for p in pictures}
    assert {one.knowledge for one in found.values()} == {Knowledge.LABELLED}
    for picture in pictures if name != "folders" else ():
        boxes = [(box.label, box.x0, box.y0, box.x1, box.y1) for box in found[stem(picture.name)].boxes]
        assert boxes == ([] if picture.label is None else [(picture.label, *map(round, picture.box))])


def test_every_layout_gives_the_same_parts(pictures: list[OwnPicture], tmp_path: Path) -> None:
    parts = []
    for name, write in OUTLINED.items():
        write(tmp_path / name, pictures) if name not in ("coco", "cvat") else _made(tmp_path / name, write, pictures)
        data_set = own(tmp_path / name)
        divided = fractions(data_set, made_split(data_set), (0.6, 0.2, 0.2), seed=1)
        parts.append([[stem(one.file) for one in part] for part in divided])
    assert parts.count(parts[0]) == len(parts)


def _made(root: Path, write: Writer, pictures: list[OwnPicture]) -> None:
    root.mkdir()
    write(root, pictures)


# one layout or several


def test_two_layouts_at_once_are_refused_by_name_and_one_can_be_chosen(
    pictures: list[OwnPicture], tmp_path: Path
) -> None:
    OUTLINED["coco"](tmp_path, pictures[:8])
    write_table(tmp_path / "labels.csv", ["file", "class"], [[one.name, "rust"] for one in pictures[:8]])
    with pytest.raises(
        DatasetError, match=r"2 layouts at once: csv \(labels.csv.*coco \(annotations/.*--layout csv.coco"
    ):
        own(tmp_path)
    assert own(tmp_path, layout="csv").labels == ("rust",)
    assert own(tmp_path, layout="coco").labels == LABELS
    with pytest.raises(DatasetError, match="layout 'cocoa', expected one of csv, coco"):
        own(tmp_path, layout="cocoa")


def test_folders_in_which_a_table_keeps_its_images_are_no_classes(tmp_path: Path) -> None:
    put_picture(tmp_path / "coil_1" / "a.png", texture(1, 40, 40))
    put_picture(tmp_path / "coil_2" / "b.png", texture(2, 40, 40))
    write_table(tmp_path / "labels.csv", ["file", "class"], [["coil_1/a.png", "dent"], ["coil_2/b.png", "scale"]])
    data_set = own(tmp_path)
    assert data_set.labels == ("dent", "scale")
    assert "folders coil_1, coil_2 are not taken as classes" in "\n".join(data_set.notes)
    put_picture(tmp_path / "coil_2" / "c.png", texture(3, 40, 40))
    with pytest.raises(DatasetError, match=r"2 layouts at once: csv .*; folders \(a folder each for coil_1, coil_2\)"):
        own(tmp_path)


@pytest.mark.parametrize("folder", ["images", "labels", "masks", "Annotations", "train", "val", "test", "train2017"])
def test_parts_of_other_layouts_are_never_classes(folder: str, tmp_path: Path) -> None:
    put_picture(tmp_path / folder / "a.png", texture(1, 40, 40))
    with pytest.raises(DatasetError, match="no layout of mymill"):
        own(tmp_path)
    with pytest.raises(DatasetError, match="expected a folder of images for each class"):
        own(tmp_path, layout="folders")


def test_folders_of_classes_within_parts_are_one_set(tmp_path: Path) -> None:
    for part, label in (("train", "dent"), ("train", "scale"), ("val", "dent")):
        put_picture(tmp_path / part / label / f"{part}.png", texture(len(part + label), 40, 40))
    data_set = own(tmp_path)
    assert [(one.file, one.labels) for one in data_set.specimens] == [
        ("train/dent/train.png", ("dent",)),
        ("train/scale/train.png", ("scale",)),
        ("val/dent/val.png", ("dent",)),
    ]
    assert "train/, val/ are read as one set" in data_set.notes[0]


def test_every_layout_says_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DatasetError) as caught:
        own(tmp_path)
    assert all(f"{each.NAME}: {each.TREE}" in str(caught.value) for each in LAYOUTS.values())


def test_every_layout_has_its_tree_on_the_page_of_own_data() -> None:
    page = (REPO / "docs" / "own-data.md").read_text()
    assert all(f"| `{name}` |" in page and f"### {name}\n\n```\nDIR/" in page for name in LAYOUTS)


# tables

ROWS = (("a.png", "dent"), ("b.png", "scale"), ("c.png", "dent"))


def table_set(root: Path, data: bytes, name: str = "labels.csv") -> DataSet:
    for number, (file, _) in enumerate(ROWS):
        put_picture(root / "images" / file, texture(number, 40, 40))
    (root / name).write_bytes(data)
    return own(root)


def lines_of(separator: str, head: str = "file,class", end: str = "\n", blank: str = "") -> str:
    rows = [head.split(","), *ROWS]
    return "".join((separator + blank).join(row) + end for row in rows)


@pytest.mark.parametrize(
    "data",
    [
        lines_of(",").encode(),
        lines_of(",").encode("utf-8-sig"),
        lines_of(";", end="\r\n").encode("utf-8-sig"),
        lines_of("\t").encode(),
        lines_of("\t").encode("utf-16"),
        lines_of(",", blank=" ").encode(),
        lines_of(",", head="File_Name,LABEL").encode(),
        lines_of(",").replace("a.png", "images\\a.png").replace("b.png", "C:\\mill\\images\\b.png").encode(),
        lines_of(",").replace("a.png", '"a.png"').replace("dent", '"dent"').encode(),
        lines_of(",").replace(".png", "").encode(),
        lines_of(",").replace("a.png,dent", "a.png,Dent ").encode(),
        b"file,dent,scale\na.png,1,0\nb.png,0,1\nc.png,1,0\n",
        lines_of(",").encode() + b"\n\n",
    ],
    ids=[
        *("plain", "bom", "semicolons_crlf", "tabs", "utf16", "blanks", "header", "backslashes", "quotes", "no_suffix"),
        *("case", "one_hot", "empty_lines"),
    ],
)
def test_a_table_is_read_as_people_save_it(data: bytes, tmp_path: Path) -> None:
    data_set = table_set(tmp_path, data)
    assert [(one.file, one.labels) for one in data_set.specimens] == [(file, (label,)) for file, label in ROWS]
    assert problems(data_set) == []


def test_a_table_of_boxes_and_of_another_name(tmp_path: Path) -> None:
    data = b"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,40,dent,2,3,20,30\na.png,40,40,dent,5,5,9,9\n"
    data_set = table_set(tmp_path, data + b"b.png,40,40,,,,,\n", name="boxes_export.csv")
    by_file = {one.file: one for one in data_set.specimens}
    assert len(by_file["a.png"].boxes) == 2
    assert by_file["b.png"].labels == ("ok",)
    assert by_file["c.png"].knowledge is Knowledge.UNLABELLED


def test_a_table_of_run_lengths(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, b"ImageId,ClassId,EncodedPixels\na.png,3,41 5\nb.png,3,\nc.png,1,1 2 41 2\n")
    by_file = {one.file: one for one in data_set.specimens}
    assert [by_file[file].labels for file, _ in ROWS] == [("3",), ("ok",), ("1",)]
    mask = by_file["a.png"].mask()
    assert mask[:5, 1].all()
    assert mask.sum() == 5


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a.png,dent\nb.png,scale\n", "expected columns file and class .*found a.png, dent"),
        (b"file,class\na.png,dent,again\n", "row 2 has 3 cells, expected 2"),
        ("file,class\nü.png,dent\n".encode("latin-1"), "expected a table in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(data: bytes, text: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=text):
        table_set(tmp_path, data)


def test_a_name_that_no_file_can_have_is_a_missing_image(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, lines_of(",").encode() + f"\n{'x' * 5000}.png,dent\n".encode())
    assert any("x" * 50 in str(problem) for problem in problems(data_set))


def test_rows_that_repeat_or_name_several_classes_are_noted(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, lines_of(",").encode() + b"a.png,dent\nb.png,dent\nx.png,dent\nc.png,\n")
    by_file = {one.file: one for one in data_set.specimens}
    assert by_file["b.png"].labels == ("dent", "scale")
    assert by_file["b.png"].mixed
    noted = "\n".join(notes(data_set))
    assert "rows written twice, which count once: 1 (row 5, a.png)" in noted
    assert "images with rows of several classes, taken as showing them all: 1 (b.png)" in noted
    assert "x.png: a label names it, but it is not there" in told(data_set)
    assert "row 8, c.png: names no class" in told(data_set)


# what an image is that nobody mentions


def test_an_image_that_nobody_mentions_is_unknown_unless_the_user_says_clean(
    pictures: list[OwnPicture], tmp_path: Path
) -> None:
    OUTLINED["yolo"](tmp_path, pictures[:8])
    (tmp_path / "labels" / "train" / "p4.txt").unlink()
    unknown = {stem(one.file): one for one in own(tmp_path).specimens}["p4"]
    assert (unknown.knowledge, unknown.labels) == (Knowledge.UNLABELLED, ())
    assert "images that no annotation mentions, which are not used" in "\n".join(own(tmp_path).notes)
    clean = {stem(one.file): one for one in own(tmp_path, unmarked="clean").specimens}["p4"]
    assert (clean.knowledge, clean.labels) == (Knowledge.OUTLINED, ("ok",))


def test_pictures_in_folders_of_masks_are_noted_and_never_clean(pictures: list[OwnPicture], tmp_path: Path) -> None:
    OUTLINED["coco"](tmp_path, pictures[:8])
    put_picture(tmp_path / "masks" / "p1.png", pictures[1].mask)
    data_set = own(tmp_path, unmarked="clean")
    assert len(data_set.specimens) == 8
    assert "pictures in folders of masks, which this layout does not read: 1 (masks/p1.png)" in data_set.notes


# class names


def test_spellings_of_one_class_are_joined_and_noted(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, b"file,class\na.png,Scratch\nb.png,scratch\nc.png,roll  mark\n")
    assert data_set.labels == ("roll mark", "scratch")
    assert "'Scratch' is scratch" in "\n".join(data_set.notes)


def test_nearly_equal_class_names_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="classes 'roll mark' and 'roll_mark' differ only in blanks, dashes"):
        table_set(tmp_path, b"file,class\na.png,roll mark\nb.png,roll_mark\nc.png,dent\n")


def test_a_mapping_to_house_classes_is_used_and_must_be_complete(tmp_path: Path) -> None:
    table_set(tmp_path, b"file,class\na.png,Kratzer\nb.png,gut\nc.png,Schlacke\n")
    house = {"kratzer": "scratch", "gut": "ok", "Schlacke": "inclusion"}
    data_set = open_set("mymill", tmp_path, house=house)
    assert [one.labels for one in data_set.specimens] == [("scratch",), ("ok",), ("inclusion",)]
    with pytest.raises(DatasetError, match="maps Kratzer, but not Schlacke; add them to"):
        open_set("mymill", tmp_path, house={"Kratzer": "scratch"})


def test_too_few_images_and_a_single_class_are_noted(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, b"file,class\na.png,dent\nb.png,dent\nc.png,dent\n")
    noted = "\n".join(notes(data_set))
    assert "fewer than 5 images: dent (3)" in noted
    assert "one class only, dent" in noted


def test_a_part_of_a_yolo_set_that_lies_elsewhere_is_noted(pictures: list[OwnPicture], tmp_path: Path) -> None:
    OUTLINED["yolo"](tmp_path / "set", pictures[:8])
    (tmp_path / "set" / "images" / "val").rename(tmp_path / "val")
    text = (tmp_path / "set" / "data.yaml").read_text()
    (tmp_path / "set" / "data.yaml").write_text(text.replace("../elsewhere", ".").replace("images/val", "../val"))
    data_set = own(tmp_path / "set")
    assert "parts that data.yaml names outside of this folder, which are not read: 1 (../val)" in data_set.notes
    assert "there is no image of this label file" in told(data_set)


@pytest.mark.parametrize(
    ("described", "text"),
    [
        ("names: [", "expected YAML"),
        ("nc: 2", "expected names, a list or numbers with names, found none"),
        ("kpt_shape: [17, 3]\nnames: [a]", "describes key points"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b]", "expected names"),
    ],
)
def test_a_description_that_names_no_classes_is_refused(
    described: str, text: str, pictures: list[OwnPicture], tmp_path: Path
) -> None:
    OUTLINED["yolo"](tmp_path, pictures[:4])
    (tmp_path / "data.yaml").write_text(described)
    with pytest.raises(DatasetError, match=text):
        own(tmp_path)


# what is wrong with marks


def coco(root: Path, annotations: list[dict], **image: object) -> DataSet:
    if not (root / "images").is_dir():
        put_picture(root / "images" / "a.png", texture(1, LINES, WIDTH))
    body = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": LINES, **image}],
        "annotations": [{"id": at, "image_id": 1, "category_id": 1, **one} for at, one in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "scale"}],
    }
    (root / "annotations.json").write_text(json.dumps(body))
    return own(root)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ({"category_id": 9}, r"annotation 1 has category 9, expected one of 1 \(dent\), 2 \(scale\)"),
        ({"image_id": 5}, "annotation 1 is of image 5, which the file does not list"),
        ({"bbox": [5, 5, 0, 10]}, r"box dent \(5, 5, 5, 15\) has no area"),
        ({"bbox": [70, 5, 30, 10]}, r"box dent \(70, 5, 100, 15\) leaves the image, 80 x 64"),
        ({"segmentation": [[5, 5, 90, 5, 90, 20]]}, r"outline dent \(5, 5, 90, 20\) leaves the image"),
        ({"segmentation": [[5, 5, 9, 9]]}, "annotation 1 cannot be read: a polygon needs three points"),
        ({"segmentation": {"size": [LINES, WIDTH], "counts": [5, 5]}}, "run lengths of 10 pixels, expected 5120"),
        ({"segmentation": {"size": [LINES, WIDTH], "counts": [LINES * WIDTH]}}, "outline dent has no area"),
        ({"segmentation": {"size": [LINES, WIDTH], "counts": "\x01"}}, "is no digit of it"),
        (
            {"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}},
            "run lengths of 1000000 x 1000000, expected",
        ),
        ({"bbox": [5, 5]}, "annotation 1 cannot be read"),
        ({"bbox": [float("inf"), 5, 1, float("nan")]}, "expected finite numbers of pixels"),
        ({"segmentation": [[5, 5, float("nan"), 5, 9, 9]]}, "expected finite numbers of pixels"),
        ({"segmentation": {"size": [float("inf"), 4], "counts": [4]}}, "annotation 1 cannot be read"),
    ],
)
def test_a_mark_that_cannot_be_right_is_a_problem(annotation: dict, text: str, tmp_path: Path) -> None:
    assert re.search(text, told(coco(tmp_path, [annotation])))


def test_several_annotations_of_an_image_and_boxes_among_outlines(tmp_path: Path) -> None:
    data_set = coco(
        tmp_path,
        [{"bbox": [5, 5, 10, 10]}, {"category_id": 2, "segmentation": [[20, 20, 40, 20, 40, 40, 20, 40]], "bbox": []}],
    )
    (one,) = data_set.specimens
    assert one.labels == ("dent", "scale")
    assert one.mixed
    assert one.knowledge is Knowledge.LABELLED
    assert [(c.label, c.images, c.boxes, c.outlines) for c in class_counts(data_set)] == [
        ("dent", 1, 1, 0),
        ("scale", 1, 0, 1),
    ]
    assert "images with boxes without an outline, from which segmentation does not learn: 1 (a.png)" in data_set.notes


def test_an_image_of_another_size_than_annotated_is_a_problem(tmp_path: Path) -> None:
    assert "is 80 x 64, but annotated as 160 x 128" in told(coco(tmp_path, [], width=160, height=128))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_followed_by_pixels_and_sizes_alike(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "images" / f"a.{suffix}"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    Image.fromarray(texture(1, LINES, WIDTH)).save(path, exif=exif)
    upright = coco(tmp_path, [{"bbox": [2, 3, 10, 60]}], file_name=path.name, width=LINES, height=WIDTH)
    assert problems(upright) == []
    assert upright.specimens[0].gray().shape == (WIDTH, LINES)
    stored = coco(tmp_path, [{"bbox": [2, 3, 60, 10]}], file_name=path.name)
    assert "is 64 x 80, but annotated as 80 x 64; the image has an Exif orientation" in told(stored)
    (tmp_path / "annotations.json").unlink()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [dent]\n")
    (box,) = own(tmp_path).specimens[0].boxes
    assert (box.x0, box.y0, box.x1, box.y1) == (16, 20, 48, 60)


def test_deep_pictures_and_kinds_that_are_not_read_are_refused_by_name(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, lines_of(",").encode())
    cv2.imwrite(str(tmp_path / "images" / "a.png"), texture(1, 40, 40).astype(np.uint16) * 16)
    (tmp_path / "images" / "d.webp").write_bytes(b"RIFF")
    data_set = own(tmp_path)
    assert "a.png: 16 bits a pixel" in told(data_set)
    assert "d.webp: is a .webp file, expected one of .png" in told(data_set)


def test_colour_alpha_and_palette_pictures_are_read_by_luma(tmp_path: Path) -> None:
    table_set(tmp_path, lines_of(",").encode())
    gray = texture(7, 40, 40)
    Image.fromarray(np.dstack([gray] * 3)).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.dstack([*[gray] * 3, np.full_like(gray, 9)])).save(tmp_path / "images" / "b.png")
    palette = Image.fromarray(gray, mode="P")
    palette.putpalette([level for gray_level in range(256) for level in (gray_level,) * 3])
    palette.save(tmp_path / "images" / "c.png")
    data_set = own(tmp_path)
    assert problems(data_set) == []
    assert all(np.array_equal(one.gray(), gray) for one in data_set.specimens)


def test_masks_that_are_empty_dark_or_of_a_palette(tmp_path: Path) -> None:
    table_set(tmp_path, lines_of(",").encode())
    mask = np.zeros((40, 40), np.uint8)
    put_picture(tmp_path / "masks" / "a.png", mask)
    mask[3:9, 5:20] = 1
    put_picture(tmp_path / "masks" / "b.png", mask * 38)
    palette = Image.fromarray(mask * 2, mode="P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 64, 0])
    palette.save(tmp_path / "masks" / "c.png")
    data_set = own(tmp_path)
    assert told(data_set).splitlines() == [
        f"{tmp_path / 'masks' / 'a.png'}: is empty, but a.png is labelled dent; draw the defect, or label the image ok"
    ]
    assert all(np.array_equal(one.mask(), mask) for one in data_set.specimens[1:])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("7 .5 .5 .2 .2", "line 1: class 7, expected 0 to 1 of the names"),
        ("0 .5 .5 .2", "line 1: 3 numbers after the class, expected 4 of a box or 6 and more"),
        ("0 .5 .5 .2 x", "line 1: .* expected a class number and shares"),
        ("0 40 40 20 20", "line 1: 40 is in pixels, expected shares"),
        ("0 .5 .5 0 .2", r"box dent .* has no area"),
        ("0 .95 .5 .3 .2", "leaves the image"),
    ],
)
def test_a_yolo_line_that_cannot_be_right_is_a_problem(line: str, text: str, tmp_path: Path) -> None:
    put_picture(tmp_path / "images" / "a.png", texture(1, LINES, WIDTH))
    put_picture(tmp_path / "images" / "b.png", texture(2, LINES, WIDTH))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(line)
    (tmp_path / "labels" / "b.txt").write_text("1 .5 .5 .2 .2\n")
    (tmp_path / "labels" / "gone.txt").write_text("1 .5 .5 .2 .2\n")
    with pytest.raises(DatasetError, match="nothing names them; add a"):
        own(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [dent, scale]\n")
    found = told(own(tmp_path))
    assert re.search(text, found)
    assert "gone.txt: there is no image of this label file" in found


def test_voc_objects_masks_and_parts_that_cannot_be_right(pictures: list[OwnPicture], tmp_path: Path) -> None:
    OUTLINED["voc"](tmp_path, pictures[:8])
    (tmp_path / "Annotations" / "p1.xml").write_text("<annotation><object><name>dent</name></object></annotation>")
    (tmp_path / "Annotations" / "p2.xml").write_text("<annotation><object>")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("p3\np99\n")
    put_picture(tmp_path / "SegmentationClass" / "p3.png", np.full((9, 9), 3, np.uint8))
    put_picture(tmp_path / "SegmentationClass" / "p5.png", np.full((LINES, WIDTH), 9, np.uint8))
    put_picture(tmp_path / "SegmentationClass" / "p77.png", np.zeros((LINES, WIDTH), np.uint8))
    found = told(own(tmp_path))
    assert "p1.xml: object 1: xmin is '', expected a number of pixels" in found
    assert "p2.xml: expected a Pascal VOC annotation, found" in found
    assert "val.txt: names images that are not there: 1 (p99)" in found
    assert "p3.png is a mask of 9 x 9 for an image of 80 x 64" in found
    assert "p5.png: holds number 9, which class_names.txt does not name" in found
    assert "p77.png: there is no image of this mask" in found


def test_voc_masks_are_named_by_colour_with_cvats_labelmap(pictures: list[OwnPicture], tmp_path: Path) -> None:
    OUTLINED["voc"](tmp_path, pictures[:8])
    (tmp_path / "class_names.txt").unlink()
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:128,0,0::\nscale:0,128,0::\nscratch:128,128,0::\n"
    )
    data_set = own(tmp_path)
    assert [one.labels[0] for one in data_set.specimens] == [one.label or "ok" for one in pictures[:8]]
    assert problems(data_set) == []


def test_an_entity_bomb_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    put_picture(tmp_path / "JPEGImages" / "a.png", texture(1, 40, 40))
    (tmp_path / "Annotations").mkdir()
    entities = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10 if at else "ha" * 10}">' for at in range(12))
    (tmp_path / "Annotations" / "a.xml").write_text(
        f"<!DOCTYPE annotation [{entities}]><annotation><object><name>&e11;</name></object></annotation>"
    )
    assert "a.xml: has a document type, which may define entities" in told(own(tmp_path))


def labelme(root: Path, shapes: list[dict], **body: object) -> DataSet:
    put_picture(root / "a.png", texture(1, LINES, WIDTH))
    full = {"shapes": shapes, "imagePath": "a.png", "imageHeight": LINES, "imageWidth": WIDTH, **body}
    (root / "a.json").write_text(json.dumps(full))
    return own(root)


def test_every_shape_of_labelme_with_an_area_is_read(tmp_path: Path) -> None:
    stamp = np.zeros((6, 8), np.uint8)
    stamp[1:5, 2:7] = 255
    encoded = base64.b64encode(cv2.imencode(".png", stamp)[1]).decode()
    data_set = labelme(
        tmp_path,
        [
            {"label": "dent", "points": [[30, 30], [36, 30]], "shape_type": "circle"},
            {"label": "dent", "points": [[50, 10], [58, 16]], "shape_type": "mask", "mask": encoded},
        ],
        flags={"rough": True, "blurred": False},
    )
    (one,) = data_set.specimens
    assert one.labels == ("dent", "rough")
    assert problems(data_set) == []
    circle, stamped = (outline.shape.pixels(LINES, WIDTH) for outline in one.outlines)
    assert circle.sum() == pytest.approx(np.pi * 36, abs=4)
    assert np.array_equal(stamped[10:16, 50:58], stamp > 0)


@pytest.mark.parametrize("kind", ["line", "point", "linestrip"])
def test_a_shape_without_area_is_a_problem(kind: str, tmp_path: Path) -> None:
    shape = {"label": "dent", "points": [[1, 1], [9, 9]], "shape_type": kind}
    assert f"a.json: shape 1 cannot be read: a {kind} of 2 points has no area" in told(labelme(tmp_path, [shape]))


def test_cvat_tags_are_classes_and_unusable_marks_are_problems(tmp_path: Path) -> None:
    put_picture(tmp_path / "images" / "a.png", texture(1, LINES, WIDTH))
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image id="0" name="a.png" width="{WIDTH}" height="{LINES}"><tag label="rough"/>'
        '<box label="dent" xtl="1" ytl="2" xbr="9" ybr="12"/><polyline label="dent" points="1,1;2,2"/>'
        '<polygon label="dent" points="1,1;x,2"/><box label="dent" xtl="1" ytl="2" xbr="?" ybr="12"/></image>'
        '<image id="1" name="b.png" width="9" height="9"/></annotations>'
    )
    data_set = own(tmp_path)
    assert {one.file: one.labels for one in data_set.specimens} == {"a.png": ("dent", "rough"), "b.png": ("ok",)}
    found = told(data_set)
    assert "image a.png, dent: <polyline> has no area" in found
    assert "image a.png, dent: points '1,1;x,2', expected x,y;x,y" in found
    assert "image a.png, dent: <box> has xbr='?', expected a number of pixels" in found
    assert "b.png: a label names it, but it is not there" in found
    (tmp_path / "annotations.xml").write_text("<annotations><track id='0' label='dent'/></annotations>")
    with pytest.raises(DatasetError, match="holds tracks of a video"):
        own(tmp_path)


def test_a_linked_folder_of_images_is_followed(pictures: list[OwnPicture], tmp_path: Path) -> None:
    OUTLINED["yolo"](tmp_path / "set", pictures[:8])
    (tmp_path / "set" / "images").rename(tmp_path / "elsewhere")
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "set" / "images")  # a loop
    assert len(own(tmp_path / "set").specimens) == 8


# shapes

COCO_CODES = (
    # written by pycocotools 2.0.11
    ("W42S10hf1", (37, 53), 4),
    ("e42S100000b?0^@0d;OXF5PN0000000g=", (37, 53), 43),
    ("0Ym1", (37, 53), 1961),
    ("Ym1", (37, 53), 0),
)


@pytest.mark.parametrize(("code", "size", "area"), COCO_CODES)
def test_cocos_compressed_run_lengths(code: str, size: tuple[int, int], area: int) -> None:
    drawn = Runs(decode_coco_counts(code), *size).pixels(*size)
    assert drawn.sum() == area
    assert np.array_equal(runs_of(drawn, 0, 0).pixels(*size), drawn)


def test_a_polygon_covers_the_pixels_whose_middle_is_inside() -> None:
    square = Polygon(((10, 10, 20, 10, 20, 20, 10, 20),)).pixels(40, 40)
    assert square[10:20, 10:20].all()
    assert square.sum() == 100
    assert Polygon(((10, 10, 20, 10, 20, 20, 10, 20), (12, 12, 18, 12, 18, 18, 12, 18))).pixels(40, 40).sum() == 64
    assert Polygon(((-5, -5, 50, -5, 50, 50, -5, 50),)).pixels(40, 40).all()
    assert Polygon(((10, 5, 10.2, 5, 10.2, 30, 10, 30),)).pixels(40, 40).any(1).sum() >= 25  # finer than a pixel


def test_a_box_of_voc_is_a_mark_of_its_name(tmp_path: Path) -> None:
    put_picture(tmp_path / "JPEGImages" / "a.png", texture(1, 40, 40))
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(
        f"<annotation>{VOC_OBJECT.format(' Dent ', 1, 2, 30.4, 20)}</annotation>"
    )
    (one,) = own(tmp_path).specimens
    assert (one.labels, one.boxes[0].x1) == (("Dent",), 30)


def test_an_image_that_is_called_free_of_defects_and_has_some_is_a_problem(tmp_path: Path) -> None:
    data_set = table_set(tmp_path, lines_of(",").encode() + b"a.png,good\n")
    assert "a.png: is labelled dent and good, expected good or defects; choose one" in told(data_set)


def test_a_mark_that_says_free_of_defects_is_no_defect(tmp_path: Path) -> None:
    put_picture(tmp_path / "a.png", texture(1, LINES, WIDTH))
    points = [[1, 1], [70, 1], [70, 60], [1, 60]]
    (one,) = labelme(tmp_path, [{"label": "OK", "points": points, "shape_type": "polygon"}]).specimens
    assert one.labels == ("OK",)
    assert not one.outlines
    assert not one.mask().any()


def test_tables_beside_the_labels_are_noted(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file,class,xmin\n")
    assert "tables that are not read: boxes.csv" in table_set(tmp_path, lines_of(",").encode()).notes
