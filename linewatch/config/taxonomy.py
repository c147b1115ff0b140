"""The taxonomy, `configs/taxonomy.toml`: the house's defect classes, and the labels of each data set in their terms."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from linewatch.config.load import load
from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import ConfigError

TAXONOMY = Path("configs/taxonomy.toml")


class Severity(StrEnum):
    """The severity of a class, ascending."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class HouseClass(ClosedModel):
    """A kind of defect. A pseudo-defect (water, ash) looks like a defect, is none, and never alarms."""

    meaning: str
    severity: Severity
    pseudo: bool = False


class SetLabels(ClosedModel):
    """The labels of one data set by house class, and the classes that are known to be absent from it."""

    labels: dict[str, str]
    absent: tuple[str, ...] = ()
    clean_label: str | None = None


class Taxonomy(ClosedModel):
    """House classes in the order of a classifier's outputs, and the labels of the data sets."""

    classes: dict[str, HouseClass]
    sets: dict[str, SetLabels]

    @classmethod
    def read(cls, path: Path = TAXONOMY) -> Self:
        """Return the checked taxonomy of a file. Raises ConfigError."""
        return load(path, cls)

    @model_validator(mode="after")
    def _closed(self) -> Self:
        for name, one in self.sets.items():
            unknown = (set(one.labels.values()) | set(one.absent)) - set(self.classes)
            if unknown:
                raise ValueError(f"set {name} names {sorted(unknown)}, which are not house classes")
            both = set(one.labels.values()) & set(one.absent)
            if both:
                raise ValueError(f"set {name} labels {sorted(both)} and lists them as absent")
        return self

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Return the classes that at least one set labels, without pseudo-defects: a classifier's outputs, in order."""
        labelled = {house for one in self.sets.values() for house in one.labels.values()}
        return tuple(name for name, one in self.classes.items() if name in labelled and not one.pseudo)

    @property
    def pseudo_classes(self) -> tuple[str, ...]:
        """Return the classes of pseudo-defects."""
        return tuple(name for name, one in self.classes.items() if one.pseudo)

    def house_class(self, data_set: str, label: str) -> str:
        """Return the house class of a data set's label. Raises ConfigError for an unknown label."""
        labels = self._set(data_set).labels
        if label not in labels:
            raise ConfigError(
                f"{data_set} has label {label!r}, expected one of {sorted(labels)}; add it to the taxonomy"
            )
        return labels[label]

    def targets(self, data_set: str, labels: Collection[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return targets and weights over `trained_classes`, float32, of a picture with these labels of its set.

        A weight of 0 masks a class that the picture tells nothing about. A picture without labels shows no class *of
        its set*.
        """
        one = self._set(data_set)
        clean = one.clean_label is not None and set(labels) == {one.clean_label}
        present = set() if clean else {self.house_class(data_set, label) for label in labels}
        known = set(one.labels.values()) | set(one.absent)
        target = np.array([name in present for name in self.trained_classes], np.float32)
        weight = np.array([clean or name in known for name in self.trained_classes], np.float32)
        return target, weight

    def _set(self, data_set: str) -> SetLabels:
        if data_set not in self.sets:
            raise ConfigError(f"no data set {data_set!r} in the taxonomy, expected one of {sorted(self.sets)}")
        return self.sets[data_set]
