"""What is wrong with a set, all of it at once, before a training starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from linewatch.datasets.layout import pictures
from linewatch.datasets.specimen import DataSet, DatasetError, Knowledge, Specimen, read_gray

_SHOWN_FROM = 500
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """One file, and what is wrong with it, what was expected, what to do."""

    path: Path
    what: str


def faults(data_set: DataSet) -> list[Fault]:
    """Pictures that are missing or do not decode, masks missing, of another size or with run lengths out of bounds,
    boxes outside their picture, pictures named twice, pictures without a label, classes without a picture.

    Every picture is decoded, by a few threads; large sets show a progress bar.
    """
    named = Counter(one.path for one in data_set.specimens)
    found = [Fault(path, f"named {count} times; take the other rows out") for path, count in named.items() if count > 1]
    found += _unlabelled(data_set)
    counts = Counter(label for one in data_set.specimens for label in one.labels)
    found += [
        Fault(data_set.root, f"class {label} has no picture; add some, or judge another set")
        for label in data_set.labels
        if not counts[label]
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        looked = pool.map(_of_one, data_set.specimens)
        if len(data_set.specimens) >= _SHOWN_FROM:
            looked = iter(
                track(
                    looked,
                    f"checking {data_set.name}",
                    total=len(data_set.specimens),
                    console=Console(stderr=True),
                    transient=True,
                )
            )
        return found + [fault for each in looked for fault in each]


def _unlabelled(data_set: DataSet) -> Iterator[Fault]:
    """Pictures beside labelled ones that no label names."""
    named = {one.path for one in data_set.specimens} | {one.mask_path for one in data_set.specimens}
    for folder in sorted({one.path.parent for one in data_set.specimens}):
        if folder.is_dir():
            for path in pictures(folder):
                if path not in named:
                    yield Fault(path, "no label names this picture; label it or move it away")


def _of_one(one: Specimen) -> list[Fault]:
    if not one.path.is_file():
        return [Fault(one.path, "a label names it, but it is not there; restore it or take its label out")]
    try:
        lines, width = read_gray(one.path).shape
    except DatasetError:
        return [Fault(one.path, "does not decode; restore the picture")]
    found = [
        Fault(
            one.path,
            f"box {box.label} ({box.x0}, {box.y0}, {box.x1}, {box.y1}) leaves the picture, {width} x {lines}",
        )
        for box in one.boxes
        if not (0 <= box.x0 < box.x1 <= width + 1 and 0 <= box.y0 < box.y1 <= lines + 1)
    ]
    return found if one.knowledge is not Knowledge.OUTLINED else found + _of_mask(one, (lines, width))


def _of_mask(one: Specimen, shape: tuple[int, int]) -> list[Fault]:
    told = one.mask_path or one.path
    if one.mask_path is not None and not one.mask_path.is_file():
        return [Fault(one.mask_path, f"the mask of {one.file} is not there; restore it")]
    try:
        mask = one.mask()
    except DatasetError as error:
        return [Fault(told, str(error).removeprefix(f"{told}: "))]
    if mask.shape != shape:
        return [
            Fault(
                told,
                f"a mask of {mask.shape[1]} x {mask.shape[0]} for a picture of {shape[1]} x {shape[0]}; not its mask",
            )
        ]
    return []
