"""The options `--data`, `--layout` and `--unmarked`: the sets of a command, and how users' own sets are read.

`--data` is NAME=DIR for one set, or a folder that holds sets under their names. Where the taxonomy maps an own set, its
classes are those of the house.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.datasets import ADAPTERS, DataSet, DatasetError, open_set
from linewatch.datasets.class_names import CLEAN
from linewatch.datasets.own import LAYOUTS, Unmarked
from linewatch.datasets.problems import DatasetProblem, shortened


@dataclass(frozen=True, slots=True)
class OwnSets:
    """How users' own sets are read: their layout, None to recognise it, and what unmarked images are."""

    layout: str | None = None
    unmarked: Unmarked = "unknown"

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ConfigError(f"--layout {self.layout}: expected one of {', '.join(LAYOUTS)}")


def named_folders(data: Sequence[str]) -> dict[str, Path]:
    """Return set names and their folders; `ConfigError` for a text that is neither NAME=DIR nor a folder of sets."""
    found: dict[str, Path] = {}
    for text in data:
        name, equals, folder = text.partition("=")
        if equals:
            found[name] = Path(folder)
            continue
        inside = {name: Path(text) / name for name in ADAPTERS if (Path(text) / name).is_dir()}
        if not inside:
            raise ConfigError(
                f"--data {text}: expected NAME=DIR with a name of {', '.join(ADAPTERS)} or of your own, "
                "or a folder that holds sets under those names"
            )
        found |= inside
    if not found:
        raise ConfigError("--data is missing: name the images, for example --data neu=DIR")
    for name, path in found.items():
        if not path.is_dir():
            raise ConfigError(f"--data {name}={path}: no such folder")
    return found


def open_sets(data: Sequence[str], own: OwnSets = OwnSets(), taxonomy: Path = TAXONOMY) -> list[DataSet]:
    """Open every set that `--data` names; `own` and the taxonomy's classes apply to users' own sets only."""
    return [
        open_set(name, folder)
        if name in ADAPTERS
        else open_set(name, folder, layout=own.layout, unmarked=own.unmarked, house=_house_terms(name, taxonomy))
        for name, folder in named_folders(data).items()
    ]


def complete(data_set: DataSet) -> DataSet:
    """Return the set; `DatasetError` if something of it could not be read or an image is missing."""
    missing = [
        DatasetProblem(one.path, "is not there; restore it") for one in data_set.specimens if not one.path.is_file()
    ]
    if data_set.problems or missing:
        raise DatasetError(listed_problems(data_set.name, [*data_set.problems, *missing]))
    return data_set


def listed_problems(name: str, problems: Sequence[DatasetProblem]) -> str:
    """Return the text of an error that lists the first problems of a set."""
    count = "1 problem, correct it" if len(problems) == 1 else f"{len(problems)} problems, correct them"
    return "\n  ".join([f"{name}: {count} first", *shortened(problems)])


def _house_terms(name: str, taxonomy: Path) -> dict[str, str] | None:
    """Return the house class of each label of a user's own set, None where the taxonomy has no section for the set."""
    if not taxonomy.is_file():
        return None
    mapped = Taxonomy.read(taxonomy).sets.get(name)
    if mapped is None:
        return None
    return mapped.labels if mapped.clean_label is None else {**mapped.labels, mapped.clean_label: CLEAN}


def joined(sets: Sequence[DataSet]) -> DataSet:
    """Join several sets into one, whose labels are NAME:LABEL, since equal labels of two sets may differ in meaning."""
    if len(sets) == 1:
        return sets[0]
    if not sets:
        raise DatasetError("no set to train on; name one with --data NAME=DIR")
    specimens = [one.renamed(each.name) for each in sets for one in each.specimens]
    labels = tuple(f"{each.name}:{label}" for each in sets for label in each.labels)
    return DataSet(
        "+".join(each.name for each in sets),
        sets[0].root,
        labels,
        tuple(specimens),
        problems=tuple(problem for each in sets for problem in each.problems),
    )
