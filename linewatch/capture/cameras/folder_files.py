"""Finds the picture files of a folder, and tells what it leaves out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from linewatch.capture.position.names import natural
from linewatch.contracts.errors import SourceError
from linewatch.pictures.reading import OTHER_SUFFIXES, SUFFIXES

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """Paths below a folder, in natural order: its pictures, and what was left out, by the log's word for it."""

    pictures: tuple[PurePath, ...]
    left_out: dict[str, tuple[PurePath, ...]]


def picture_files(folder: Path, pattern: str | None, subfolders: bool | None) -> FolderFiles:
    """Find the picture files of a folder (`2.png` before `10.png`).

    pattern: only files whose names match this; None: all. subfolders: True: with the pictures in sub-folders; False:
    without them; None: those in sub-folders where there are no others. Hidden files and files that are no pictures are
    left out, and links to folders are not followed. A link that leads nowhere is a picture, since one is missing there.

    Raises SourceError when there is no picture, when it cannot be told which are meant, or for kinds that are not read.
    """
    entries = _entries(folder)
    shown = entries.shown
    pictures = [path for path in shown if path.suffix.lower() in SUFFIXES]
    wanted = [path for path in pictures if pattern is None or fnmatchcase(path.name, pattern)]
    top, below = [path for path in wanted if len(path.parts) == 1], [path for path in wanted if len(path.parts) > 1]
    if top and below and subfolders is None:
        raise SourceError(
            f"folder {folder} contains {len(top)} pictures, and {len(below)} more in sub-folders "
            f"({_some_folders(below)}); expected them in one place; name one sub-folder, or set [source] subfolders = "
            "true to read all of them, false to leave those in sub-folders out"
        )
    chosen = top if subfolders is False else wanted
    unread = [] if pattern is not None else [path for path in shown if path.suffix.lower() in OTHER_SUFFIXES]
    if unread:
        raise SourceError(
            f"folder {folder} contains {len(unread)} pictures of a kind that is not read, the first is {unread[0]}; "
            f"expected {', '.join(SUFFIXES)}, in which damage can be seen; convert them, move them away, or name the "
            "right ones by [source] pattern"
        )
    if not chosen:
        matching = f" whose name matches {pattern!r}" if pattern is not None else ""
        deeper = f", {len(below)} in sub-folders, which [source] subfolders = false leaves out" if below else ""
        deeper += f", {len(entries.linked)} links to folders, which are not followed" if entries.linked else ""
        raise SourceError(
            f"folder {folder} contains no image{matching} ({len(shown) - len(below)} other files{deeper}); expected "
            f"{', '.join(SUFFIXES)} files; set [source] path"
        )
    matched = set(wanted)
    left_out = {
        "pictures_in_subfolders_skipped": below if subfolders is False else [],
        "pictures_of_other_names_skipped": [path for path in pictures if path not in matched],
        "hidden_pictures_skipped": [path for path in entries.hidden if path.suffix.lower() in SUFFIXES],
        "linked_folders_skipped": entries.linked,
        "folders_named_as_pictures_skipped": [
            path
            for path in entries.folders
            if path.suffix.lower() in SUFFIXES and not any(path in one.parents for one in below)
        ],
        "non_image_files_skipped": [path for path in shown if path.suffix.lower() not in SUFFIXES],
    }
    return FolderFiles(tuple(chosen), {event: tuple(paths) for event, paths in left_out.items() if paths})


@dataclass(frozen=True, slots=True)
class _Entries:
    """Everything below a folder, in natural order. `linked`: links to folders, which are not followed."""

    hidden: list[PurePath]
    shown: list[PurePath]
    folders: list[PurePath]
    linked: list[PurePath]


def _entries(folder: Path) -> _Entries:
    def refuse(error: OSError) -> None:
        raise SourceError(
            f"cannot read folder {error.filename}: {error.strerror}; expected a folder of images; set [source] path"
        ) from error

    found = _Entries([], [], [], [])
    for at, folders, files in os.walk(folder, onerror=refuse):
        below = PurePath(at).relative_to(folder)
        for name in folders:
            (found.linked if Path(at, name).is_symlink() else found.folders).append(below / name)
        for name in files:
            path = below / name
            (found.hidden if any(part.startswith(".") for part in path.parts) else found.shown).append(path)
    for paths in (found.hidden, found.shown, found.folders, found.linked):
        paths.sort(key=lambda path: [natural(part) for part in path.parts])
    return found


def _some_folders(pictures: Sequence[PurePath]) -> str:
    names = list(dict.fromkeys(path.parts[0] for path in pictures))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
