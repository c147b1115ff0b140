"""The house's classes and what each data set's labels say about them (`configs/taxonomy.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from linewatch.contracts.errors import ConfigError

TAXONOMY = Path("configs/taxonomy.toml")


class Severity(StrEnum):
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HouseClass(_Closed):
    """One physical thing on the strip; a pseudo-defect looks like one, is none and never alarms."""

    meaning: str
    severity: Severity
    pseudo: bool = False


class SetLabels(_Closed):
    """What one data set labels, and what was looked for in it and not found."""

    labels: dict[str, str]
    absent: tuple[str, ...] = ()
    clean_label: str | None = None


class Taxonomy(_Closed):
    """House classes in output order, and the data sets' labels in those words."""

    classes: dict[str, HouseClass]
    sets: dict[str, SetLabels]

    @classmethod
    def read(cls, path: Path = TAXONOMY) -> Self:
        """Reads and checks the file; `ConfigError` says what does not fit."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: expected a taxonomy, found {error}; see configs/taxonomy.toml") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"{path}: {where}: {first['msg']}, found {first['input']!r:.80}; see its head for the rules"
            ) from error

    @model_validator(mode="after")
    def _closed(self) -> Self:
        for name, one in self.sets.items():
            unknown = (set(one.labels.values()) | set(one.absent)) - set(self.classes)
            if unknown:
                raise ValueError(f"set {name} names {sorted(unknown)}, no house classes")
            both = set(one.labels.values()) & set(one.absent)
            if both:
                raise ValueError(f"set {name} labels {sorted(both)} and calls them absent")
        return self

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Real classes that at least one set labels: a classifier's outputs, in order."""
        labelled = {house for one in self.sets.values() for house in one.labels.values()}
        return tuple(name for name, one in self.classes.items() if name in labelled and not one.pseudo)

    @property
    def pseudo_classes(self) -> tuple[str, ...]:
        """What looks like a defect and is none."""
        return tuple(name for name, one in self.classes.items() if one.pseudo)

    def house_class(self, data_set: str, label: str) -> str:
        """The house's word for a set's label; `ConfigError` if the set has no such label."""
        labels = self._set(data_set).labels
        if label not in labels:
            raise ConfigError(
                f"{data_set} has label {label!r}, expected one of {sorted(labels)}; add it to the taxonomy"
            )
        return labels[label]

    def targets(self, data_set: str, labels: Collection[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Targets and weights over `trained_classes` of a picture with these labels of its set.

        A weight of 0 masks the class: the picture says nothing about it. No labels at all means that no class *of the
        set* is there.
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
