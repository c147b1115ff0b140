"""The severity of each defect in a report: by the grading rules where the service had some, else by its class."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from linewatch.config.grading import UNKNOWN_SEVERITY, class_severities
from linewatch.config.taxonomy import Taxonomy
from linewatch.review.defect_table import Defects

NO_SEVERITY = 0
"""The severity of pseudo-defects and of tentative defects."""


@dataclass(frozen=True, slots=True)
class ClassSeverities:
    """Severities by class, for defects that no grading rules rated. identity: of the taxonomy that they come from."""

    by_class: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pseudo: frozenset[str] = frozenset()
    identity: str | None = None

    @classmethod
    def of(cls, taxonomy: Taxonomy, identity: str) -> Self:
        return cls(MappingProxyType(class_severities(taxonomy)), frozenset(taxonomy.pseudo_classes), identity)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read them from a taxonomy file. Raises ConfigError when it cannot be used."""
        taxonomy = Taxonomy.read(path)
        digest = hashlib.sha256(taxonomy.model_dump_json().encode()).hexdigest()[:12]
        return cls.of(taxonomy, f"{path.name}@{digest}")

    def rate(self, defects: Defects) -> np.ndarray:
        """Return int8 (n,): 1..5, or `NO_SEVERITY`."""
        names, codes = np.unique(defects["defect_class"].astype(str), return_inverse=True)
        of_class = np.array([self.by_class.get(name, UNKNOWN_SEVERITY) for name in names.tolist()], np.int8)
        is_pseudo = np.array([name in self.pseudo for name in names.tolist()], bool)
        rated = np.where(defects["severity"] > 0, defects["severity"], of_class[codes])
        return np.where(is_pseudo[codes] | defects["tentative"], np.int8(NO_SEVERITY), rated).astype(np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class RatedDefects:
    """Defects, the worst first: by severity, then by area, then by position along the coil. severity: int8 (n,)."""

    defects: Defects
    severity: np.ndarray
    by: ClassSeverities

    @classmethod
    def of(cls, defects: Defects, by: ClassSeverities) -> Self:
        severity = by.rate(defects)
        order = np.lexsort((np.arange(len(defects)), -defects["area_mm2"], -severity))
        return cls(defects.take(order), severity[order], by)

    def __len__(self) -> int:
        return len(self.defects)
