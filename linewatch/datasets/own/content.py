"""What a layout's reader finds in a folder, in the terms of the files: images, their marks, notes and problems."""

from __future__ import annotations

import math
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import natural
from linewatch.datasets.problems import DatasetProblem
from linewatch.datasets.shapes import Bounds, Shape
from linewatch.pictures.reading import SUFFIXES

MASK_FOLDERS = ("masks", "mask", "segmentationclass", "segmentationobject", "ground_truth", "groundtruth", "gt")
"""Names of folders, in lower case, whose pictures are masks."""

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ImageMark:
    """A defect of class `label` that somebody marked: with an outline, or with a box alone."""

    label: str
    box: Bounds | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class MarkedImage:
    """An image, and what the annotations say of it.

    labels: of the whole image. looked_at: False where no annotation mentions the image, so that it may or may not have
    defects. stated_px: its (lines, width) by the annotation. mask_path: a mask that is nonzero on the image's class.
    """

    path: Path
    labels: tuple[str, ...] = ()
    marks: tuple[ImageMark, ...] = ()
    looked_at: bool = True
    stated_px: tuple[int, int] | None = None
    mask_path: Path | None = None

    def renamed(self, names: Mapping[str, str]) -> MarkedImage:
        """Return the image with the class names that `names` has for those of the files."""
        return replace(
            self,
            labels=tuple(names[label] for label in self.labels),
            marks=tuple(replace(mark, label=names[mark.label]) for mark in self.marks),
        )


@dataclass
class Content:
    """What a reader has found so far; `note` and `problem` collect what the user must hear of."""

    root: Path
    images: list[MarkedImage] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)
    masks: set[Path] = field(default_factory=set)
    """Pictures that are masks of others."""
    _notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, text: str, name: str | None = None) -> None:
        """Note how something was read; equal texts are one note, with the number of their names and the first few."""
        self._notes[text] += [] if name is None else [name]

    def note_parts(self, names: str) -> None:
        """Note that a set in several parts is read as one."""
        self.note(f"{names} are read as one set, which linewatch divides by itself")

    def problem(self, path: Path, text: str) -> None:
        self.problems.append(DatasetProblem(path, text))

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{text}: {len(names)} ({named(names)})" if names else text for text, names in self._notes.items())


class OwnLayout(Protocol):
    """A layout of users' own sets: a module of this package.

    NAME: for `--layout`. TREE: the files that it consists of.
    """

    NAME: str
    TREE: str

    def recognise(self, root: Path) -> str | None:
        """Return what the layout is recognised by, None if the folder has another one."""

    def read(self, root: Path) -> Content:
        """Return the set; `DatasetError` if nothing of it can be read."""


def read_text(file: Path) -> str:
    """Return the text of a file; `DatasetError` unless it is UTF-8: class names must not be guessed."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: expected text in UTF-8, found {error.reason}; save it again as UTF-8") from error


def stated_size(lines: Any, width: Any) -> tuple[int, int] | None:
    """Return (lines, width) of two values of a JSON file, None unless both are sizes."""
    sides = [int(side) for side in (lines, width) if isinstance(side, int | float) and 0 < side < math.inf]
    return (sides[0], sides[1]) if len(sides) == 2 else None


def named(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - _NAMES_SHOWN} more" if len(each) > _NAMES_SHOWN else ""
    return ", ".join(each[:_NAMES_SHOWN]) + more


def named_below(root: Path, files: Iterable[Path]) -> str:
    """Return the first few files by their paths below the root, and how many more there are."""
    return named(file.relative_to(root).as_posix() for file in files)


def files_below(folder: Path, suffixes: Collection[str], without: Collection[str] = ()) -> list[Path]:
    """Return the files with these suffixes in a folder and its subfolders, linked ones too, sorted with numbers.

    Hidden files and folders, and subfolders named `without`, are left out.
    """
    found: list[Path] = []
    walked: set[str] = set()
    for inside, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(inside)
        if real in walked:  # a link to a folder above
            below.clear()
            continue
        walked.add(real)
        below[:] = [name for name in below if not name.startswith(".") and name.lower() not in without]
        found += [
            Path(inside, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def pictures_below(folder: Path, without: Collection[str] = ()) -> list[Path]:
    """Return the images in a folder and its subfolders, but not in those named `without`."""
    return files_below(folder, SUFFIXES, without)


MOST_NAME_BYTES: Final = 240
"""Of a file's name: a longer one no file system holds, and asking for it is an error."""


class ImageFinder:
    """Finds the image that an annotation names, whatever folders and separators the name has.

    Names were often written on another computer: with backslashes, with a drive, without the folder, in another case,
    with an umlaut as one letter or as two.
    """

    def __init__(self, content: Content):
        self._content = content
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in pictures_below(content.root, MASK_FOLDERS):
            for key in {_key(path.name), _key(path.stem)}:
                self._by_name[key].append(path)

    def find(self, name: str, *folders: Path) -> Path:
        """Return the image called `name`: below one of `folders`, or anywhere if its name is the only one.

        The path of a missing image is where it was looked for first; the check reports it.
        """
        parts = [_possible(part) for part in _parts(name)]
        for start in range(len(parts)):
            for folder in folders:
                path = folder.joinpath(*parts[start:])
                if path.is_file() and path.suffix.lower() in SUFFIXES:
                    return path
        found = self._by_name.get(_key(parts[-1]), []) if parts else []
        if len(found) != 1:
            return folders[0].joinpath(*parts)
        if parts[-1] == found[0].name:
            self._content.note("images in another folder than the annotations say", name)
        return found[0]


def _key(name: str) -> str:
    """Return what names of one file have in common; a Mac writes an umlaut as two letters (NFD)."""
    return unicodedata.normalize("NFC", name).lower()


def _possible(part: str) -> str:
    """Return a name that a file can have; a cut one where it is none."""
    encoded = part.replace("\0", "?").encode(errors="replace")
    return encoded.decode() if len(encoded) <= MOST_NAME_BYTES else encoded[:MOST_NAME_BYTES].decode(errors="ignore")


def _parts(name: str) -> list[str]:
    return [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]
