"""How bad each defect of a coil is, for whoever reads of it: by the grading rules, or else by its class."""

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
"""Of a pseudo-defect, and of one that is tentative."""


@dataclass(frozen=True, slots=True)
class ClassSeverities:
    """How bad a defect is by its class, where no grading rules say more. identity: of the taxonomy that says so."""

    by_class: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pseudo: frozenset[str] = frozenset()
    identity: str | None = None

    @classmethod
    def of(cls, taxonomy: Taxonomy, identity: str) -> Self:
        return cls(MappingProxyType(class_severities(taxonomy)), frozenset(taxonomy.pseudo_classes), identity)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of a taxonomy's file. Raises ConfigError when it cannot be used."""
        taxonomy = Taxonomy.read(path)
        digest = hashlib.sha256(taxonomy.model_dump_json().encode()).hexdigest()[:12]
        return cls.of(taxonomy, f"{path.name}@{digest}")

    def rate(self, defects: Defects) -> np.ndarray:
        """int8 (n,): 1..5; `NO_SEVERITY`."""
        names, codes = np.unique(defects["defect_class"].astype(str), return_inverse=True)
        of_class = np.array([self.by_class.get(name, UNKNOWN_SEVERITY) for name in names.tolist()], np.int8)
        is_pseudo = np.array([name in self.pseudo for name in names.tolist()], bool)
        rated = np.where(defects["severity"] > 0, defects["severity"], of_class[codes])
        return np.where(is_pseudo[codes] | defects["tentative"], np.int8(NO_SEVERITY), rated).astype(np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class RatedDefects:
    """Defects, the worst first: by severity, then by area, then as they come along the coil. severity: int8 (n,)."""

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
