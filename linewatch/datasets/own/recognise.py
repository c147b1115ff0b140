"""The layouts of users' own sets, and which of them a folder has."""

from __future__ import annotations

from pathlib import Path

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import unknown_layout
from linewatch.datasets.own import coco, csv_table, cvat, folders, labelme, masks, voc, yolo
from linewatch.datasets.own.content import Content, OwnLayout, pictures_below

_MODULES: tuple[OwnLayout, ...] = (csv_table, coco, yolo, voc, labelme, cvat, masks, folders)
LAYOUTS: dict[str, OwnLayout] = {module.NAME: module for module in _MODULES}


def read_content(name: str, root: Path, layout: str | None = None) -> tuple[Content, str]:
    """Return what the folder holds, and by what layout and why it was read so.

    `layout` names the layout; without it, the folder must have exactly one. `DatasetError` for none or several.
    """
    if layout is not None:
        if layout not in LAYOUTS:
            raise DatasetError(f"layout {layout!r}, expected one of {', '.join(LAYOUTS)}")
        return LAYOUTS[layout].read(root), f"{layout}, as you say"
    reasons = {each.NAME: each.recognise(root) for each in _MODULES}
    found = {one: reason for one, reason in reasons.items() if reason is not None}
    if len(found) > 1 and folders.NAME in found:
        of_files = _of_files(root, found)
        if of_files is not None:
            return of_files
    if len(found) > 1:
        held = "; ".join(f"{one} ({reason})" for one, reason in found.items())
        raise DatasetError(
            f"{root}: has {len(found)} layouts at once: {held}; expected one: take the others away, "
            f"or choose with --layout {'|'.join(found)}"
        )
    if not found:
        raise unknown_layout(name, root, [f"{each.NAME}: {each.TREE}" for each in _MODULES])
    ((only, reason),) = found.items()
    content = LAYOUTS[only].read(root)
    if only == folders.NAME:
        folders.refuse_annotated(root, content)
    return content, f"{only}, because of {reason}"


def _of_files(root: Path, found: dict[str, str]) -> tuple[Content, str] | None:
    """Return the set by its annotation files, if they name the images in the folders that could be classes.

    Such folders are storage, by coil or by day; None if they hold images of their own.
    """
    others = [one for one in found if one != folders.NAME]
    if len(others) != 1:
        return None
    content = LAYOUTS[others[0]].read(root)
    named = {one.path for one in content.images}
    stored = folders.class_folders(root)
    if not all(path in named for folder in stored for path in pictures_below(folder)):
        return None
    names = ", ".join(sorted({folder.name for folder in stored}))
    content.note(f"folders {names} are not taken as classes, since the annotations name their images")
    return content, f"{others[0]}, because of {found[others[0]]}"
