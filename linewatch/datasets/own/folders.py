"""A folder of images per class, perhaps within `train/`, `val/` and `test/`.

Folders with a name of another layout's parts are never classes.
"""

from __future__ import annotations

import re
from pathlib import Path

from linewatch.datasets.class_names import is_clean
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.own.content import MASK_FOLDERS, Content, MarkedImage, files_below, named, pictures_below
from linewatch.pictures.reading import SUFFIXES

NAME = "folders"
TREE = "CLASS/*.png for each class, also below train/, val/, test/"

_ANNOTATIONS = (".json", ".jsonl", ".ndjson", ".xml")
_PICTURE = re.compile(rf"""[^"'\\/<>=,;:]+(?:{"|".join(map(re.escape, SUFFIXES))})""", re.IGNORECASE)
_PART = re.compile(r"(train|training|val|valid|validation|test|testing|eval)[-_ ]?(set|images|imgs|data)?\d{0,4}$")
_RESERVED = {
    *("images", "image", "imgs", "img", "pictures", "jpegimages", "data", "raw", "frames"),
    *("labels", "label", "annotations", "annotation", "imagesets", "splits"),
    *MASK_FOLDERS,
    "__macosx",  # in archives that were made on a Mac
}


def recognise(root: Path) -> str | None:
    classes = class_folders(root)
    return f"a folder each for {named(sorted({folder.name for folder in classes}))}" if classes else None


def class_folders(root: Path) -> list[Path]:
    """Return the folders that name a class: none of another layout's parts, and with images in them."""
    return [folder for folder in _candidates(root) if pictures_below(folder, MASK_FOLDERS)]


def read(root: Path) -> Content:
    """Read the set; parts are one set, which linewatch divides by itself."""
    content, folders = Content(root), class_folders(root)
    if not folders:
        raise DatasetError(f"{root}: expected a folder of images for each class, found none that can be a class")
    parts = sorted({folder.parent.name for folder in folders if folder.parent != root})
    if parts:
        content.note_parts(named(f"{part}/" for part in parts))
    for folder in folders:
        content.images += [MarkedImage(path, labels=(folder.name,)) for path in pictures_below(folder, MASK_FOLDERS)]
    below = [
        path.parent for folder in folders for path in pictures_below(folder, MASK_FOLDERS) if path.parent != folder
    ]
    for inner in dict.fromkeys(below):
        if is_clean(inner.name):
            raise DatasetError(
                f"{inner}: lies below {inner.parent.name}/, which would be the class of its images; move the folders "
                "of classes to the top, or give one folder at a time to --data"
            )
        content.note("folders inside a class, whose images are of that class", inner.relative_to(root).as_posix())
    named_classes = {folder.name for folder in folders}
    empty = [folder for folder in _candidates(root) if folder.name not in named_classes]
    if empty:
        raise DatasetError(f"{empty[0]}: a class without an image; add some or take the folder away")
    return content


def refuse_annotated(root: Path, content: Content) -> None:
    """Raise `DatasetError` if a file that no layout reads names images of the set: its folders may be storage."""
    names = {one.path.name for one in content.images}
    for file in files_below(root, _ANNOTATIONS):
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        found = next((name for name in _PICTURE.findall(text) if name in names), None)
        if found is not None:
            raise DatasetError(
                f"{file}: names {found} and other images, but not in a layout that is read here; export it again, for "
                "example as COCO, or take the folders as classes by --layout folders"
            )


def _candidates(root: Path) -> list[Path]:
    inside = _folders(root)
    parts = [folder for folder in inside if _PART.match(folder.name.lower())]
    return [
        folder
        for folder in [*inside, *(below for part in parts for below in _folders(part))]
        if folder.name.lower() not in _RESERVED and not _PART.match(folder.name.lower())
    ]


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
