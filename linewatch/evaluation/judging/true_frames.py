"""Whole frames whose defects are known, from a folder in any layout that Severstal or COCO has.

Each label becomes a house class by configs/taxonomy.toml. What cannot be judged is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.datasets import own, severstal, severstal_frames
from linewatch.datasets.arguments import OwnSets
from linewatch.datasets.check import problems_of
from linewatch.datasets.class_names import is_clean
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import images
from linewatch.datasets.own.content import named
from linewatch.datasets.shapes import draw
from linewatch.datasets.specimen import DataSet, Knowledge, Specimen
from linewatch.geometry.strip import StripScale
from linewatch.simulation.truth import TrueDefect

_WITHOUT_TRUTH = {
    Knowledge.CLASS_ONLY: "frames of which the set tells classes, but no places",
    Knowledge.UNLABELLED: "frames that the set calls unlabelled",
}


@dataclass(frozen=True, slots=True)
class TrueFrame:
    """A frame and what is known of it. name: its folder and its path therein. terms: the house class of each label."""

    name: str
    specimen: Specimen
    terms: Mapping[str, str]

    @property
    def file(self) -> str:
        """Its name in the set."""
        return self.specimen.file

    def gray(self) -> NDArray[np.uint8]:
        """Return uint8 (lines, width). Raises DatasetError."""
        return self.specimen.gray()

    def truth(self, shape: tuple[int, int]) -> FrameTruth:
        """Return the true defects of the frame, whose image is of this (lines, width). Raises DatasetError."""
        one = self.specimen
        masked = one.knowledge is Knowledge.OUTLINED
        labels = one.mask_labels if masked else tuple(dict.fromkeys(each.label for each in one.outlines))
        mask = one.mask() if masked else draw(one.outlines, labels, *shape)
        classes = tuple(dict.fromkeys(self.terms[label] for label in labels))
        values = np.array([0, *(1 + classes.index(self.terms[label]) for label in labels)], np.uint8)
        boxes = tuple((self.terms[box.label], (box.x0, box.y0, box.x1, box.y1)) for box in one.boxes)
        return FrameTruth(classes, values[mask], () if masked else boxes, outlined=masked or not boxes)


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """The true defects of a frame.

    mask: uint8 (lines, width), 0 no defect, k the house class `classes[k - 1]`. boxes: defects that nobody outlined,
    as class and (x0, y0, x1, y1), half-open pixels. outlined: whether the mask holds all defects.
    """

    classes: tuple[str, ...]
    mask: NDArray[np.uint8]
    boxes: tuple[tuple[str, tuple[int, int, int, int]], ...]
    outlined: bool

    def defects(self, line: LineSettings, pseudo: Collection[str]) -> tuple[TrueDefect, ...]:
        """Return the true pieces in strip millimetres, from the frame's own corner.

        A piece is a connected component (8-neighbours) of one class, however the annotations divide it, so that every
        layout of one set gives the same pieces. A box without an outline is a piece. Pseudo-defects are none.
        """
        found = [(name, box, (box[2] - box[0]) * (box[3] - box[1])) for name, box in self.boxes]
        for value, name in enumerate(self.classes, 1):
            count, _, stats, _ = cv2.connectedComponentsWithStats((self.mask == value).astype(np.uint8))
            found += [
                (name, (int(x), int(y), int(x + width), int(y + lines)), int(area))
                for x, y, width, lines, area in stats[1:count].tolist()
            ]
        found.sort(key=lambda one: (one[1][1], one[1][0]))
        kept = [one for one in found if one[0] not in pseudo]
        scale = StripScale(0.0, line.mm_per_line, line.across)
        return tuple(
            TrueDefect(
                id=number,
                defect_class=name,
                box=scale.box(x0, x1, y0, y1),
                area_mm2=area_px * scale.mm2_per_px(x0, x1),
            )
            for number, (name, (x0, y0, x1, y1), area_px) in enumerate(kept)
        )


@dataclass(frozen=True, slots=True)
class RefusedFrame:
    """A frame, or its truth, that cannot be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class FrameSet:
    """The frames of a folder. notes: how it was read. refused: what should have been judged and cannot be."""

    root: Path
    frames: tuple[TrueFrame, ...]
    refused: tuple[RefusedFrame, ...]
    notes: tuple[str, ...]


def read_frame_set(text: str, own_sets: OwnSets, taxonomy: Taxonomy) -> FrameSet:
    """Return the frames of the folder that a user named, as FOLDER or NAME=FOLDER.

    NAME is the section of the taxonomy whose labels the set has; without it, the folder's own name where the taxonomy
    has that section, else severstal. Raises DatasetError for a folder that cannot be read and for unknown classes.
    """
    name, root = _named_folder(text, taxonomy)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; name one that holds frames with their truth")
    by = severstal.recognise(root) if own_sets.layout is None else None
    if name == severstal_frames.NAME:
        by = "severstal/ and severstal_more/ with masks and boxes"
        data_set = DataSet(name, root, (), tuple(severstal_frames.read(root)), by)
    elif by is not None:
        data_set = DataSet(name, root, (), tuple(severstal.read(root)), by)
    else:
        data_set = own.read(name, root, own_sets.layout, own_sets.unmarked)
    notes = [f"read as {data_set.recognised}", *(note for note in data_set.notes)]
    refused = [RefusedFrame(str(one.path), one.text) for one in data_set.problems]
    known = [one for one in data_set.specimens if one.knowledge not in _WITHOUT_TRUTH or one.boxes]
    if by is None:
        refused += [
            RefusedFrame(one.file, "nobody says what it shows; annotate it, or say --unmarked clean")
            for one in data_set.specimens
            if one.knowledge is Knowledge.UNLABELLED
        ]
    else:
        notes += _counted(data_set.specimens)
        refused += _unnamed(root, data_set.specimens)
    absent = [one.file for one in known if not one.path.is_file()]
    if absent:
        notes.append(f"frames that the annotations name, but that are not there: {len(absent)} ({named(absent)})")
    there = [one for one in known if one.path.is_file()]
    terms = _terms(there, name, root, taxonomy)
    frames = []
    for one in there:
        reason = "; ".join(fault.text for fault in problems_of(one, own=True)) or _lacking(one)
        if reason:
            refused.append(RefusedFrame(one.file, reason))
        else:
            frames.append(TrueFrame(f"{root.resolve().name}/{one.file}", one, terms))
    return FrameSet(root, tuple(frames), tuple(refused), tuple(notes))


def _named_folder(text: str, taxonomy: Taxonomy) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if equals and "/" not in name:
        return name, Path(folder)
    root = Path(text)
    inside = root.resolve().name
    return (inside if inside in taxonomy.sets else severstal.NAME), root


def _counted(specimens: Sequence[Specimen]) -> Iterator[str]:
    bare = [one.file for one in specimens if one.labels == (severstal.CLEAN,) and one.mask_path is None]
    if bare:
        yield f"frames without a mask and without runs, which are free of defects: {len(bare)} ({named(bare)})"
    for knowledge, text in _WITHOUT_TRUTH.items():
        files = [one.file for one in specimens if one.knowledge is knowledge and not one.boxes]
        if files:
            yield f"{text}, which are not judged: {len(files)} ({named(files)})"


def _unnamed(root: Path, specimens: Sequence[Specimen]) -> Iterator[RefusedFrame]:
    """Yield the frames beside the others that no row of the table names."""
    there = {one.path for one in specimens}
    for folder in sorted({one.path.parent for one in specimens if one.knowledge is Knowledge.OUTLINED}):
        for path in images(folder) if folder.is_dir() else ():
            if path not in there:
                yield RefusedFrame(path.relative_to(root).as_posix(), "no row of labels.csv names it; add one")


def _terms(specimens: Iterable[Specimen], name: str, root: Path, taxonomy: Taxonomy) -> dict[str, str]:
    """Return the house class of every label. Raises DatasetError for labels without one."""
    labels = {label for one in specimens for label in _used(one)}
    house = {_plain(one): one for one in taxonomy.classes}
    section = severstal.NAME if name == severstal_frames.NAME else name
    mapped = taxonomy.sets[section].labels if section in taxonomy.sets else {}
    by_label = {**house, **{_plain(label): one for label, one in mapped.items()}}
    found = {label: by_label.get(_plain(label), "") for label in sorted(labels)}
    lacking = [label for label, one in found.items() if not one]
    if lacking:
        raise DatasetError(
            f"{root}: classes {', '.join(map(repr, lacking))} are neither classes of the house nor labels of "
            f"[sets.{name}] in configs/taxonomy.toml ({', '.join(mapped) or 'which has no such section'}); add them "
            f"there, or name the section as NAME={root}"
        )
    return found


def _used(one: Specimen) -> set[str]:
    shapes = {each.label for each in one.outlines} | {box.label for box in one.boxes}
    return shapes | {label for label in (*one.labels, *one.mask_labels) if not is_clean(label)}


def _plain(label: str) -> str:
    return label.casefold().replace("-", "_").replace(" ", "_")


def _lacking(one: Specimen) -> str | None:
    """Return why the truth of a readable frame does not suffice, None if it does."""
    defects = {label for label in one.labels if not is_clean(label)}
    if one.knowledge is Knowledge.OUTLINED:
        found = {one.mask_labels[value - 1] for value in np.unique(one.mask()).tolist() if value}
        if found and not defects:
            return f"is labelled free of defects, but its mask shows {', '.join(sorted(found))}; correct one of them"
        return None
    marked = {box.label for box in one.boxes} | {each.label for each in one.outlines}
    if defects - marked:
        return f"is labelled {', '.join(sorted(defects - marked))}, but nobody says where; mark it, or take it out"
    return None
