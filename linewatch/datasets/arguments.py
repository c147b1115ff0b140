"""The option `--data`: NAME=DIR for one set, or a folder that holds sets under their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linewatch.contracts.errors import ConfigError
from linewatch.datasets import ADAPTERS, DataSet, DatasetError, open_set


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


def open_sets(data: Sequence[str]) -> list[DataSet]:
    """Open every set that `--data` names."""
    return [open_set(name, folder) for name, folder in named_folders(data).items()]


def joined(sets: Sequence[DataSet]) -> DataSet:
    """Join several sets into one, whose labels are NAME:LABEL, since equal labels of two sets may differ in meaning."""
    if len(sets) == 1:
        return sets[0]
    if not sets:
        raise DatasetError("no set to train on; name one with --data NAME=DIR")
    specimens = [one.renamed(each.name) for each in sets for one in each.specimens]
    labels = tuple(f"{each.name}:{label}" for each in sets for label in each.labels)
    return DataSet("+".join(each.name for each in sets), sets[0].root, labels, tuple(specimens))
