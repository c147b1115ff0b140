"""What decides: the settings and the engines' thresholds, joined once at start."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from linewatch.config.decision import AlarmRule, DecisionSettings
from linewatch.config.line import LineSettings
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest, byte_threshold

UNCLASSIFIED = "unclassified"
"""The class of a defect when no engine names classes."""


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Everything that `decide` needs besides predictions.

    defect_threshold_u8: a pixel of `Prediction.probability` at or above it is defect; 1..255.
    class_thresholds: for every class of the classifier, the score from which it claims that class.
    pseudo_classes: what looks like a defect and is none (water, oil ...): reported, never alarmed.
    outlined_classes: those that the segmenter knows: without an outline there is no such defect (false calls come
        first). For the others the classifier's tile speaks alone.
    """

    defect_threshold_u8: int
    class_thresholds: Mapping[str, float]
    min_area_mm2: float
    merge_gap_mm: float
    pseudo_classes: frozenset[str] = frozenset()
    outlined_classes: frozenset[str] = frozenset()
    alarms: tuple[AlarmRule, ...] = ()
    across_offset_mm: float = 0.0
    periodic: PeriodicSettings = field(default_factory=PeriodicSettings)
    rolls: tuple[RollSettings, ...] = ()

    def __post_init__(self) -> None:
        """Raises ConfigError for an alarm rule that could never be raised, or that shares its name with another."""
        alarming = sorted(set(self.class_thresholds) - self.pseudo_classes)
        names: set[str] = set()
        for rule in self.alarms:
            if rule.name in names:
                raise ConfigError(f"two [[alarm]] rules are named '{rule.name}'; give each its own name")
            names.add(rule.name)
            for name in rule.classes:
                if name not in alarming:
                    reason = "is a pseudo-defect, which never alarms" if name in self.pseudo_classes else "is unknown"
                    raise ConfigError(
                        f"[[alarm]] '{rule.name}': class '{name}' {reason}; the engines' classes that may alarm are "
                        f"{', '.join(alarming) or 'none'}: name some of these, or none for all of them"
                    )

    @classmethod
    def join(
        cls,
        settings: DecisionSettings,
        alarms: Iterable[AlarmRule],
        line: LineSettings,
        *,
        classify: EngineManifest,
        segment: EngineManifest,
        pseudo_classes: Iterable[str] = (),
        periodic: PeriodicSettings | None = None,
        rolls: Iterable[RollSettings] = (),
    ) -> Self:
        """The rules of one service. A setting overrides its manifest; raises ConfigError as above."""
        threshold = segment.thresholds["defect"] if settings.defect_threshold is None else settings.defect_threshold
        return cls(
            defect_threshold_u8=byte_threshold(threshold),
            class_thresholds=dict(classify.thresholds),
            min_area_mm2=settings.min_area_mm2,
            merge_gap_mm=settings.merge_gap_mm,
            pseudo_classes=frozenset(pseudo_classes),
            outlined_classes=frozenset(segment.classes),
            alarms=tuple(alarms),
            across_offset_mm=line.across_offset_mm,
            periodic=periodic or PeriodicSettings(),
            rolls=tuple(rolls),
        )

    def reach(self, mm_per_step: float) -> int:
        """How many pixels (or lines) apart two defect pixels may be and still be one defect; 1 is touching."""
        return math.floor(self.merge_gap_mm / mm_per_step + 1e-9) + 1

    def claimed(self, classes: tuple[str, ...], scores: np.ndarray) -> np.ndarray:
        """bool (len(classes),): the classes whose score reaches their threshold."""
        return scores >= np.array([self.class_thresholds[name] for name in classes])

    def unoutlined(self, classes: tuple[str, ...]) -> np.ndarray:
        """bool (len(classes),): the classes that a tile without an outline may hold."""
        return np.array([name not in self.outlined_classes for name in classes])

    def choose_class(self, classes: tuple[str, ...], scores: np.ndarray) -> tuple[str, float]:
        """The class that scores (len(classes),) speak for, and its score.

        The highest of the claimed real defect classes; failing that of the claimed pseudo-defects (so water never
        hides a scratch); failing that of all, and the low confidence tells.
        """
        if not classes:
            return UNCLASSIFIED, 0.0
        claimed = self.claimed(classes, scores)
        real = claimed & np.array([name not in self.pseudo_classes for name in classes])
        candidates = real if real.any() else claimed if claimed.any() else np.ones_like(claimed)
        index = int(np.argmax(np.where(candidates, scores, -np.inf)))
        return classes[index], float(scores[index])
