"""The rules that decisions follow: settings and engine thresholds, joined once at start."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from linewatch.config.decision import AlarmRule, AlarmSettings, DecisionSettings, SystemAlarmSettings
from linewatch.config.line import LineSettings
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.coil import CoilConditions
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest, Task, byte_threshold
from linewatch.contracts.normal import NormalModel
from linewatch.contracts.probability import ProbabilityModel
from linewatch.decision.alarms.system import NAMES
from linewatch.decision.defects.sensitivity import Limit, Places, Sensitivity
from linewatch.decision.grading.severity import GradingRules

UNCLASSIFIED = "unclassified"
"""The class of a defect when no engine names classes."""
CALL_PROBABILITY = 0.5
"""The probability from which a defect is called where neither a setting nor a model says another."""
CELL_PX = 4
"""Side of a cell of maps in pixels, unless the engine says otherwise. Evidence counts areas in cells of this size."""
_LIKELIEST = 0.5
"""With maps the classes' shares add up to 1: a class that claims from a half never hides a likelier one."""


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Everything that `decide` needs besides predictions.

    defect_threshold_u8: a pixel of `Prediction.probability` at or above it is defect; 1..255.
    class_thresholds: for every class of the classifier, the score from which it claims that class.
    pseudo_classes: what looks like a defect and is none (water, oil ...): reported, never alarmed.
    part_mm: a defect that has grown to this length along the strip is closed, and goes on as a part of its own.
    probability_model: tells from its evidence how probably a piece is a true defect; None: its peak tells, or the
        score of its class where it has no outline of its own.
    normal: what is normal on this line, which lowers the log-odds of what its clean strip is full of; None: unknown.
    tell_probability: a defect below it is not reported. call_probability: one below it is tentative, unless a
        sensitivity rule gives another.
    cell_px: side of a cell of `Prediction.maps` in pixels.
    outlined_classes: the classes that the segmenter knows. Without an outline such a defect is not reported, to keep
        false calls low; for all other classes the classifier's tile suffices.
    sensitivity: exceptions to `class_thresholds` and `min_area_mm2`, by class, zone and product.
    grading: the grading rules of a coil that begins under these rules; None: the coil is not graded.
    strip_width_mm: of strip in view, until a coil has shown its width; None: unknown.
    view_width_px: of the camera's view; what passes while no strip is in view and no width is known counts as so wide.
    strip_taper: share by which a coil's strip may become narrower than it was.
    side, camera: used for alarms that do not come from a frame.
    """

    defect_threshold_u8: int
    class_thresholds: Mapping[str, float]
    min_area_mm2: float
    merge_gap_mm: float
    probability_model: ProbabilityModel | None = None
    normal: NormalModel | None = None
    tell_probability: float = 0.0
    call_probability: float = CALL_PROBABILITY
    cell_px: int = CELL_PX
    pseudo_classes: frozenset[str] = frozenset()
    outlined_classes: frozenset[str] = frozenset()
    alarms: tuple[AlarmRule, ...] = ()
    strip_width_mm: float | None = None
    view_width_px: int = 0
    strip_taper: float = 0.0
    part_mm: float = math.inf
    sensitivity: Sensitivity = field(default_factory=Sensitivity)
    grading: GradingRules | None = None
    alarm_settings: AlarmSettings = field(default_factory=AlarmSettings)
    system_alarms: SystemAlarmSettings | None = None
    side: str = ""
    camera: str = ""
    periodic: PeriodicSettings = field(default_factory=PeriodicSettings)
    rolls: tuple[RollSettings, ...] = ()
    conditions: CoilConditions = field(default_factory=CoilConditions)
    config: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError for alarm rules that can never alarm or that contradict each other."""
        self._agree()
        alarming = sorted(set(self.class_thresholds) - self.pseudo_classes)
        names: set[str] = set()
        for rule in self.alarms:
            if rule.name in names:
                raise ConfigError(f"two [[alarm]] rules are named '{rule.name}'; give each its own name")
            names.add(rule.name)
            if rule.name in NAMES:
                raise ConfigError(
                    f"an [[alarm]] rule is named '{rule.name}', as a built-in alarm is; give it another name "
                    f"(built in: {', '.join(NAMES)})"
                )
            for name in rule.classes:
                if name not in alarming:
                    reason = "is a pseudo-defect, which never alarms" if name in self.pseudo_classes else "is unknown"
                    raise ConfigError(
                        f"[[alarm]] '{rule.name}': class '{name}' {reason}; the engines' classes that may alarm are "
                        f"{', '.join(alarming) or 'none'}: name some of these, or none for all of them"
                    )

    def _agree(self) -> None:
        groups: dict[str, list[str]] = {}
        meanings: dict[tuple[object, ...], AlarmRule] = {}
        for rule in self.alarms:
            if rule.group is not None:
                groups.setdefault(rule.group, []).append(rule.name)
            size = rule.min_area_mm2, rule.min_length_mm, rule.min_confidence, rule.min_probability
            count = rule.min_count, rule.within_m if rule.min_count > 1 else None
            other = meanings.setdefault((rule.roll_mark, frozenset(rule.classes), size, count), rule)
            if other.priority is not rule.priority:
                raise ConfigError(
                    f"[[alarm]] '{other.name}' and '{rule.name}' match the same defects, one with priority "
                    f"{other.priority}, the other with {rule.priority}; keep one of them, or make them differ in "
                    "class, size or count"
                )
        for group, members in groups.items():
            if len(members) == 1:
                raise ConfigError(
                    f"[[alarm]] '{members[0]}' is alone in group '{group}'; expected the same group in another rule: "
                    f"the groups are {', '.join(sorted(groups))}"
                )

    @classmethod
    def from_settings(
        cls,
        settings: DecisionSettings,
        alarms: Iterable[AlarmRule],
        line: LineSettings,
        engines: Mapping[Task, EngineManifest],
        *,
        pseudo_classes: Iterable[str] = (),
        normal: NormalModel | None = None,
        grading: GradingRules | None = None,
        alarm_settings: AlarmSettings | None = None,
        system_alarms: SystemAlarmSettings | None = None,
        periodic: PeriodicSettings | None = None,
        rolls: Iterable[RollSettings] = (),
        conditions: CoilConditions | None = None,
        config: str = "",
    ) -> Self:
        """Return the rules from settings and the manifests of the engines; a setting replaces a manifest's value.

        Where there is an inspect engine, its maps are decided on, else the answers of the classifier and the segmenter.
        Raises ConfigError for alarm rules that cannot alarm or contradict.
        """
        whole = engines.get(Task.INSPECT)
        head, outlines = (whole, whole) if whole is not None else (engines[Task.CLASSIFY], engines[Task.SEGMENT])
        threshold = outlines.thresholds["defect"] if settings.defect_threshold is None else settings.defect_threshold
        threshold_u8 = byte_threshold(threshold)
        tell, call = settings.tell_probability, settings.call_probability
        if (model := head.probability) is not None:
            tell = model.tell_probability if tell is None else tell
            call = model.call_probability if call is None else call
        elif whole is not None and tell is None:
            tell = (threshold_u8 - 0.5) / 255  # nothing judges the faint pieces
        return cls(
            defect_threshold_u8=threshold_u8,
            class_thresholds=dict(head.thresholds) if whole is None else dict.fromkeys(head.classes, _LIKELIEST),
            min_area_mm2=settings.min_area_mm2,
            merge_gap_mm=settings.merge_gap_mm,
            probability_model=model,
            normal=normal,
            tell_probability=0.0 if tell is None else tell,
            call_probability=CALL_PROBABILITY if call is None else call,
            cell_px=head.cell_px or CELL_PX,
            pseudo_classes=frozenset(pseudo_classes),
            outlined_classes=frozenset(outlines.classes),
            alarms=tuple(alarms),
            strip_width_mm=line.strip_width_mm,
            view_width_px=line.width_px,
            strip_taper=line.strip_taper,
            part_mm=settings.part_m * 1000,
            sensitivity=Sensitivity.of(settings, head.classes),
            grading=grading,
            alarm_settings=alarm_settings or AlarmSettings(),
            system_alarms=system_alarms,
            side=line.side,
            camera=line.camera,
            periodic=periodic or PeriodicSettings(),
            rolls=tuple(rolls),
            conditions=conditions or CoilConditions(),
            config=config,
        )

    def reach(self, mm_per_step: float) -> int:
        """Return how many pixels (or lines) apart two pixels of one defect may lie; 1 means touching."""
        return math.floor(self.merge_gap_mm / mm_per_step + 1e-9) + 1

    def thresholds(self, classes: tuple[str, ...], places: Places) -> np.ndarray:
        """Return the score from which each class is claimed at each place: float64 (len(places), len(classes))."""
        usual = np.array([[self.class_thresholds[name] for name in classes]])
        if not self.sensitivity.rules:
            return usual.repeat(len(places), axis=0)
        confidence = self.sensitivity.minima("min_confidence", classes, places)
        return np.where(np.isnan(confidence), usual, confidence)

    def least_area_mm2(self, classes: tuple[str, ...], code: np.ndarray, places: Places) -> np.ndarray:
        """Return the area from which a defect of class `classes[code]` is reported at its place: (len(places),)."""
        least = self._minima("min_area_mm2", classes, code, places)
        return np.where(np.isnan(least), self.min_area_mm2, least)

    def reports(
        self,
        classes: tuple[str, ...],
        code: np.ndarray,
        confidence: np.ndarray,
        probability: np.ndarray,
        area_mm2: np.ndarray,
        places: Places,
    ) -> np.ndarray:
        """Return which defects of class `classes[code]` reach what is needed to be reported: bool (len(places),)."""
        reports = (probability >= self.tell_probability) & (area_mm2 >= self.least_area_mm2(classes, code, places))
        return reports & ~(confidence < self._minima("min_confidence", classes, code, places))

    def tentative(
        self, classes: tuple[str, ...], code: np.ndarray, probability: np.ndarray, places: Places
    ) -> np.ndarray:
        """Return which defects of class `classes[code]` are too improbable to be called: bool (len(places),)."""
        least = self._minima("call_probability", classes, code, places)
        return probability < np.where(np.isnan(least), self.call_probability, least)

    def _minima(self, limit: Limit, classes: tuple[str, ...], code: np.ndarray, places: Places) -> np.ndarray:
        """Return the sensitivity rules' limit for a defect of class `classes[code]` at each place; NaN: none."""
        if not self.sensitivity.rules:
            return np.full(len(places), np.nan)
        return self.sensitivity.minima(limit, named(classes), places)[np.arange(len(places)), code]

    def unoutlined(self, classes: tuple[str, ...]) -> np.ndarray:
        """Return which classes are reported from a tile without an outline: bool (len(classes),)."""
        return np.array([name not in self.outlined_classes for name in classes])

    def choose_classes(
        self, classes: tuple[str, ...], scores: np.ndarray, places: Places
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the class at each place from scores (len(places), len(classes)).

        Return its index in `named(classes)` and its score: int64 and float64 (len(places),). The highest-scoring
        claimed defect class wins. If no defect class is claimed, the highest claimed pseudo-defect wins, so water
        never hides a scratch. If nothing is claimed, the highest score of all wins, with a correspondingly low score.
        """
        if not classes:
            return np.zeros(len(places), np.int64), np.zeros(len(places))
        claimed = scores >= self.thresholds(classes, places)
        rank = claimed * np.array([1 if name in self.pseudo_classes else 2 for name in classes])
        best = rank == rank.max(axis=1, keepdims=True)
        code = np.where(best, scores, -np.inf).argmax(axis=1)
        return code, scores[np.arange(len(code)), code]


def named(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names of defects for an engine with these classes; an engine without classes has one."""
    return classes or (UNCLASSIFIED,)
