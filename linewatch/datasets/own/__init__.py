"""A user's own set, in any layout that people have.

Each layout is one module behind `content.OwnLayout`: it says by what it is recognised, and reads the folder into images
and marks in the terms of the files. `recognise` chooses the layout, and `read` makes a `DataSet` of what was found:

- The labels of an image are its own classes and those of its marks. Several of equal standing make it `mixed`.
- If every mark has an outline, the image is `OUTLINED`: its mask is drawn from them. In a set with outlines, images
  that are free of defects are `OUTLINED`, too, with an empty mask.
- Boxes stay boxes. An image with a box alone teaches no segmentation.
- An image that no annotation mentions is `UNLABELLED`, unless the user says that those are free of defects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from linewatch.datasets.class_names import CLEAN, in_house_terms, is_clean, spellings
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import natural
from linewatch.datasets.own.content import MASK_FOLDERS, Content, MarkedImage, files_below, pictures_below
from linewatch.datasets.own.recognise import LAYOUTS, read_content
from linewatch.datasets.shapes import Outline
from linewatch.datasets.specimen import DataSet, Knowledge, LabelBox, Specimen
from linewatch.pictures.reading import OTHER_SUFFIXES, SUFFIXES

__all__ = ["LAYOUTS", "Unmarked", "read"]

Unmarked = Literal["unknown", "clean"]
"""What an image is that no annotation mentions."""


def read(
    name: str,
    root: Path,
    layout: str | None = None,
    unmarked: Unmarked = "unknown",
    house: Mapping[str, str] | None = None,
) -> DataSet:
    """Read the set `name`; `DatasetError` if its layout is not recognised, or if class names are ambiguous.

    layout: its name, where the user gives it. house: the house class of each label, where the taxonomy maps the set.
    """
    try:
        content, recognised = read_content(name, root, layout)
        _add_unmarked(content, unmarked)
    except OSError as error:
        raise DatasetError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    _take_out_unnamed(content)
    spelling = _spelling(content, name, house)
    images = [one.renamed(spelling) for one in content.images]
    clean = _clean_name(images, content)
    outlines = any(mark.shape is not None for one in images for mark in one.marks)
    images.sort(key=lambda one: (natural(one.path.name), one.path))  # the same order, and parts, in every layout
    specimens = tuple(_specimen(name, root, one, clean, outlines) for one in images)
    _note(content, images, specimens, clean)
    labels = tuple(sorted({label for one in specimens for label in one.labels}))
    return DataSet(name, root, labels, specimens, recognised, content.notes(), tuple(content.problems))


def _add_unmarked(content: Content, unmarked: Unmarked) -> None:
    """Add the images of the folder that no annotation mentions."""
    for path in files_below(content.root, OTHER_SUFFIXES):
        content.problem(path, f"is a {path.suffix} file, expected one of {', '.join(SUFFIXES)}; save it as .png")
    mentioned = {one.path for one in content.images} | content.masks
    for path in pictures_below(content.root):
        if path in mentioned:
            continue
        below = path.relative_to(content.root)
        if any(part.lower() in MASK_FOLDERS for part in below.parts[:-1]):
            content.note("pictures in folders of masks, which this layout does not read", below.as_posix())
        elif unmarked == "clean":
            content.note("images that no annotation mentions, free of defects as you say", below.as_posix())
            content.images.append(MarkedImage(path))
        else:
            content.note(
                "images that no annotation mentions, which are not used: nobody says that they are free of defects "
                "(--unmarked clean would)",
                below.as_posix(),
            )
            content.images.append(MarkedImage(path, looked_at=False))


def _take_out_unnamed(content: Content) -> None:
    """Report the marks that name no class; without them the set can be shown, though not used."""
    for at, one in enumerate(content.images):
        if all(label.strip() for label in (*one.labels, *(mark.label for mark in one.marks))):
            continue
        content.problem(one.path, "a mark of it names no class; name the class, or take the mark away")
        content.images[at] = replace(
            one,
            labels=tuple(label for label in one.labels if label.strip()),
            marks=tuple(mark for mark in one.marks if mark.label.strip()),
        )


def _spelling(content: Content, name: str, house: Mapping[str, str] | None) -> dict[str, str]:
    """Return the class of each label in the files, and note which are joined."""
    used = [label for one in content.images for label in (*one.labels, *(mark.label for mark in one.marks))]
    found = spellings(used)
    for label in sorted(found):
        if found[label] != label:
            content.note("class names that differ in case or blanks only, taken as one", f"{label!r} is {found[label]}")
    if house is not None:
        terms = in_house_terms(found.values(), house, name)
        found = {label: terms[one] for label, one in found.items()}
        content.note("classes are those of the house, by configs/taxonomy.toml")
    return found


def _clean_name(images: Sequence[MarkedImage], content: Content) -> str:
    """Return the set's name for images that are free of defects; report images that are called so and have defects."""
    names = []
    for one in images:
        labels = dict.fromkeys((*one.labels, *(mark.label for mark in one.marks)))
        clean = [label for label in labels if is_clean(label)]
        names += clean
        if clean and len(clean) < len(labels):
            content.problem(one.path, f"is labelled {' and '.join(labels)}, expected {clean[0]} or defects; choose one")
    different = sorted(set(names))
    if len(different) > 1:
        content.note(f"classes {', '.join(different)} all mean free of defects, and are {different[0]}")
    return different[0] if different else CLEAN


def _specimen(name: str, root: Path, one: MarkedImage, clean: str, outlines_in_set: bool) -> Specimen:
    marks = [mark for mark in one.marks if not is_clean(mark.label)]
    defects = sorted({label for label in one.labels if not is_clean(label)} | {mark.label for mark in marks})
    labels = tuple(defects) if defects or not one.looked_at else (clean,)
    outlined = {mark.label for mark in marks if mark.shape is not None}
    complete = set(defects) == outlined and all(mark.shape is not None for mark in marks)
    mask = one.mask_path
    if not one.looked_at:
        knowledge = Knowledge.UNLABELLED
    elif mask is not None or (outlines_in_set and complete):
        knowledge = Knowledge.OUTLINED
    else:
        knowledge = Knowledge.LABELLED
    return Specimen(
        data_set=name,
        file=_file(one.path, root),
        fold=None,
        knowledge=knowledge,
        labels=labels,
        path=one.path,
        mask_path=mask,
        mask_labels=tuple(defects) if knowledge is Knowledge.OUTLINED else (),
        boxes=tuple(
            LabelBox(mark.label, round(mark.box.x0), round(mark.box.y0), round(mark.box.x1), round(mark.box.y1))
            for mark in marks
            if mark.box is not None
        ),
        outlines=tuple(Outline(mark.label, mark.shape) for mark in marks if mark.shape is not None),
        mixed=len(labels) > 1,
        stated_px=one.stated_px,
    )


def _file(path: Path, root: Path) -> str:
    """Return the image's name in splits: its path below the root, or below images/."""
    return path.relative_to(root).as_posix().removeprefix("images/")


def _note(content: Content, images: Sequence[MarkedImage], specimens: Sequence[Specimen], clean: str) -> None:
    """Note what images without marks, with marks of several classes and with boxes only are taken as."""
    outlines = any(one.outlines for one in specimens)
    for image, one in zip(images, specimens, strict=True):
        if image.looked_at and not image.labels and not image.marks:
            content.note(f"images annotated without a defect, which are of the class {clean}", one.file)
        if outlines and one.boxes and one.knowledge is Knowledge.LABELLED:
            content.note("images with boxes without an outline, from which segmentation does not learn", one.file)
        if one.mixed and image.marks:
            content.note("images that show several classes", f"{one.file} ({', '.join(one.labels)})")
