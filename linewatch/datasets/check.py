"""Checks of a data set before a training starts: all problems at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from linewatch.datasets.layout import images
from linewatch.datasets.specimen import DataSet, DatasetError, Knowledge, Specimen, read_gray

_SHOWN_FROM = 500
_THREADS = 4


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """A file, and a text that says what is wrong with it, what was expected, and the remedy."""

    path: Path
    text: str


def problems(data_set: DataSet) -> list[DatasetProblem]:
    """Decode every image and return all problems of the set; large sets show a progress bar.

    Problems are: images that are missing or do not decode; masks that are missing, of another size or with run lengths
    out of bounds; boxes outside their image; images named twice or without a label; classes without an image.
    """
    named = Counter(one.path for one in data_set.specimens)
    found = [
        DatasetProblem(path, f"named {count} times; take the other rows out")
        for path, count in named.items()
        if count > 1
    ]
    found += _unlabelled(data_set)
    counts = Counter(label for one in data_set.specimens for label in one.labels)
    found += [
        DatasetProblem(data_set.root, f"class {label} has no image; add some, or use another set")
        for label in data_set.labels
        if not counts[label]
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = pool.map(_of_one, data_set.specimens)
        if len(data_set.specimens) >= _SHOWN_FROM:
            checked = iter(
                track(
                    checked,
                    f"checking {data_set.name}",
                    total=len(data_set.specimens),
                    console=Console(stderr=True),
                    transient=True,
                )
            )
        return found + [problem for each in checked for problem in each]


def _unlabelled(data_set: DataSet) -> Iterator[DatasetProblem]:
    """Yield the images beside labelled ones that have no label."""
    named = {one.path for one in data_set.specimens} | {one.mask_path for one in data_set.specimens}
    for folder in sorted({one.path.parent for one in data_set.specimens}):
        if folder.is_dir():
            for path in images(folder):
                if path not in named:
                    yield DatasetProblem(path, "this image has no label; label it or move it away")


def _of_one(one: Specimen) -> list[DatasetProblem]:
    if not one.path.is_file():
        return [DatasetProblem(one.path, "a label names it, but it is not there; restore it or take its label out")]
    try:
        lines, width = read_gray(one.path).shape
    except DatasetError:
        return [DatasetProblem(one.path, "does not decode; restore the image")]
    found = [
        DatasetProblem(
            one.path,
            f"box {box.label} ({box.x0}, {box.y0}, {box.x1}, {box.y1}) leaves the image, {width} x {lines}",
        )
        for box in one.boxes
        if not (0 <= box.x0 < box.x1 <= width + 1 and 0 <= box.y0 < box.y1 <= lines + 1)
    ]
    return found if one.knowledge is not Knowledge.OUTLINED else found + _of_mask(one, (lines, width))


def _of_mask(one: Specimen, shape: tuple[int, int]) -> list[DatasetProblem]:
    path = one.mask_path or one.path
    if one.mask_path is not None and not one.mask_path.is_file():
        return [DatasetProblem(one.mask_path, f"the mask of {one.file} is not there; restore it")]
    try:
        mask = one.mask()
    except DatasetError as error:
        return [DatasetProblem(path, str(error).removeprefix(f"{path}: "))]
    if mask.shape != shape:
        return [
            DatasetProblem(
                path,
                f"a mask of {mask.shape[1]} x {mask.shape[0]} for an image of {shape[1]} x {shape[0]}; not its mask",
            )
        ]
    return []
