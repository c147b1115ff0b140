"""The rules by which a strip's joined defects and coverage are graded and alarm."""

from linewatch.config.grading_file import load_grading
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.errors import ConfigError
from linewatch.decision.grading.severity import GradingRules
from linewatch.decision.rules import DecisionRules
from linewatch.strip.settings import StripSettings

CALLED_BY_CAMERAS = -1.0
"""As `call_probability`: a joined defect is called where a camera called it."""


class StripRules:
    """Reads what the settings name, once."""

    def __init__(self, settings: StripSettings) -> None:
        """Raise ConfigError for a file or a rule that cannot be used."""
        self._settings = settings
        self.config = settings.identity()
        self._taxonomy = None if settings.taxonomy is None else Taxonomy.read(settings.taxonomy)
        self._grading: GradingRules | None = None
        if settings.decision.grading is not None:
            if self._taxonomy is None:
                raise ConfigError(
                    "[decision] grading needs the classes that its rules name; write "
                    'taxonomy = "configs/taxonomy.toml", too'
                )
            self._grading = GradingRules.of(load_grading(settings.decision.grading, self._taxonomy), self._taxonomy)
        self._newest: tuple[CoilConditions, DecisionRules] | None = None
        self.of(CoilConditions())  # an alarm rule that cannot alarm is refused at once

    def conditions(self, data: CoilData | None, *, between: bool, notes: tuple[str, ...] = ()) -> CoilConditions:
        """Return how a coil with these data counts."""
        decision = self._settings.decision
        return CoilConditions(
            data=data,
            head_mm=max(decision.head_excluded_m * 1000, (data.head_crop_mm or 0.0) if data else 0.0),
            tail_mm=max(decision.tail_excluded_m * 1000, (data.tail_crop_mm or 0.0) if data else 0.0),
            between=between,
            notes=notes,
        )

    def of(self, conditions: CoilConditions) -> DecisionRules:
        """Return the rules for a coil under these conditions; the same ones as long as these do not change."""
        if self._newest is None or self._newest[0] != conditions:
            self._newest = conditions, self._made(conditions)
        return self._newest[1]

    def _made(self, conditions: CoilConditions) -> DecisionRules:
        settings = self._settings
        call = settings.decision.call_probability
        classes = self._taxonomy.classes if self._taxonomy else {}
        return DecisionRules(
            defect_threshold_u8=1,
            class_thresholds=dict.fromkeys(classes, 0.0),
            min_area_mm2=0.0,
            merge_gap_mm=0.0,
            call_probability=CALLED_BY_CAMERAS if call is None else call,
            pseudo_classes=frozenset(self._taxonomy.pseudo_classes if self._taxonomy else ()),
            alarms=settings.alarm,
            grading=None if self._grading is None else self._grading.excluding(conditions.head_mm, conditions.tail_mm),
            alarm_settings=settings.alarms,
            system_alarms=settings.system_alarms,
            side=settings.side,
            camera=settings.strip.name,
            periodic=settings.periodic,
            rolls=settings.roll,
            conditions=conditions,
            config=self.config,
        )
