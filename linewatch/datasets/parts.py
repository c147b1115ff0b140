"""Division of a data set into training, validation and test parts, or folds: seeded, by whole groups and strata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from linewatch.datasets import SPLITS, DataSet, Specimen
from linewatch.datasets.splits import (
    Assignment,
    Split,
    SplitImage,
    assign_folds,
    assign_parts,
    coil_neighbours,
    connect,
    perceptual_pairs,
    same_steel,
)

_MOST_PAIRS = 1_000_000
"""Above this many pairs of images of one label, similar pairs are found by hash instead of by correlation."""


def split_of(data_set: DataSet, cache: Path | None = None, splits: Path = SPLITS) -> Split:
    """Return the set's groups and folds.

    They come from the committed table if it has every image, else from the file `cache`, else they are made from the
    images and the set's own groups, and written to `cache`.
    """
    for path in (splits / f"{data_set.name}.csv", cache):
        if path is not None and path.is_file():
            split = Split.read(path)
            known = {one.file for one in split.assignments}
            if all(one.file in known for one in data_set.specimens):
                if cache is not None and not cache.is_file():
                    split.write(cache)
                return split
    split = made_split(data_set)
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        split.write(cache)
    return split


def made_split(data_set: DataSet) -> Split:
    """Make groups and folds: groups join near-duplicates, neighbours on a coil, and the set's own groups."""
    specimens = data_set.specimens
    labels = Counter(_stratum(one) for one in specimens)
    images = (SplitImage(f"{one.data_set}/{one.file}", _stratum(one), one.gray()) for one in specimens)
    if data_set.name == "severstal":
        pairs = coil_neighbours(list(images))
    elif sum(count * count // 2 for count in labels.values()) <= _MOST_PAIRS:
        pairs = same_steel(list(images))
    else:
        pairs = perceptual_pairs(images)
    first: dict[str, int] = {}
    for index, one in enumerate(specimens):
        if one.group is not None:
            pairs.append((first.setdefault(f"{one.data_set}/{one.group}", index), index))
    groups = connect(len(specimens), pairs)
    folds = assign_folds(groups, [_stratum(one) for one in specimens])
    return Split(
        data_set.name, [Assignment(one.file, g, f) for one, g, f in zip(specimens, groups, folds, strict=True)]
    )


def fractions(data_set: DataSet, split: Split, shares: Sequence[float], seed: int) -> tuple[list[Specimen], ...]:
    """Divide the labelled specimens into parts of about these shares, by whole groups and evenly for each label."""
    specimens, groups = _labelled(data_set), _groups(split)
    return _divided(specimens, [groups[one.file] for one in specimens], shares, seed)


def random_fractions(data_set: DataSet, split: Split, shares: Sequence[float], seed: int) -> tuple[list[Specimen], ...]:
    """Divide as the papers do, stratified only: the same steel may be in two parts, which flatters metrics."""
    specimens = _labelled(data_set)
    return _divided(specimens, list(range(len(specimens))), shares, seed)


def k_folds(data_set: DataSet, split: Split, folds: int, seed: int) -> Iterator[tuple[list[Specimen], list[Specimen]]]:
    """Yield (the rest, the fold) for each fold; every labelled specimen is in one fold."""
    parts = fractions(data_set, split, [1 / folds] * folds, seed)
    for test in range(folds):
        yield [one for part in range(folds) if part != test for one in parts[part]], parts[test]


def _divided(
    specimens: Sequence[Specimen], groups: Sequence[int], shares: Sequence[float], seed: int
) -> tuple[list[Specimen], ...]:
    if not np.isclose(sum(shares), 1) or min(shares) < 0:
        raise ValueError(f"shares {tuple(shares)}, expected none below 0 and 1 together")
    part_of = assign_parts(groups, [_stratum(one) for one in specimens], shares, seed)
    return tuple([one for one, of in zip(specimens, part_of, strict=True) if of == part] for part in range(len(shares)))


def _labelled(data_set: DataSet) -> list[Specimen]:
    return [one for one in data_set.specimens if one.labels]


def _groups(split: Split) -> dict[str, int]:
    return {one.file: one.group for one in split.assignments}


def _stratum(one: Specimen) -> str:
    return "+".join(one.labels[:1] if one.boxes and not one.mixed else one.labels)
