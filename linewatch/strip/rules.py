"""The rules by which a strip's joined defects and coverage are graded and alarm."""

from collections.abc import Iterator

from linewatch.config.grading_file import DEFAULT, load_grading
from linewatch.config.recipe import choose_recipe
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
        self._gradings = dict(self._read_gradings())
        self._newest: tuple[CoilConditions, DecisionRules] | None = None
        self.of(CoilConditions())  # an alarm rule that cannot alarm is refused at once

    def _read_gradings(self) -> Iterator[tuple[str, GradingRules]]:
        """Yield the grading rules by the recipe that names them, or `DEFAULT`."""
        named = [(DEFAULT, "[decision]", self._settings.decision.grading)]
        named += [(one.name, f"[[recipe]] '{one.name}'", one.grading) for one in self._settings.recipe]
        for name, place, path in named:
            if path is None:
                continue
            if self._taxonomy is None:
                raise ConfigError(
                    f"{place} grading needs the classes that its rules name; write "
                    'taxonomy = "configs/taxonomy.toml", too'
                )
            yield name, GradingRules.of(load_grading(path, self._taxonomy), self._taxonomy)

    @property
    def gradings(self) -> tuple[str, ...]:
        """Identities of the grading rules, the default's first."""
        ordered = sorted(self._gradings, key=lambda name: (name != DEFAULT, name))
        return tuple(self._gradings[name].identity for name in ordered)

    def read_again(self, fresh: StripSettings) -> tuple["StripRules", tuple[str, ...]]:
        """Return the rules as the file has them now, and the settings that differ and wait for a restart.

        Raises ConfigError for rules that cannot be used.
        """
        settings = self._settings.model_copy(update={"decision": fresh.decision, "recipe": fresh.recipe})
        ours, theirs = settings.model_dump(), fresh.model_dump()
        return StripRules(settings), tuple(name for name, value in theirs.items() if ours[name] != value)

    def conditions(self, data: CoilData | None, *, between: bool, notes: tuple[str, ...] = ()) -> CoilConditions:
        """Return how a coil with these data counts."""
        decision, recipe = self._settings.decision, choose_recipe(self._settings.recipe, data)
        head_m, tail_m = decision.head_excluded_m, decision.tail_excluded_m
        if recipe is not None:
            head_m = head_m if recipe.head_excluded_m is None else recipe.head_excluded_m
            tail_m = tail_m if recipe.tail_excluded_m is None else recipe.tail_excluded_m
        return CoilConditions(
            data=data,
            recipe=recipe.name if recipe is not None else None,
            head_mm=max(head_m * 1000, (data.head_crop_mm or 0.0) if data else 0.0),
            tail_mm=max(tail_m * 1000, (data.tail_crop_mm or 0.0) if data else 0.0),
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
        grading = self._gradings.get(conditions.recipe or DEFAULT) or self._gradings.get(DEFAULT)
        classes = self._taxonomy.classes if self._taxonomy else {}
        return DecisionRules(
            defect_threshold_u8=1,
            class_thresholds=dict.fromkeys(classes, 0.0),
            min_area_mm2=0.0,
            merge_gap_mm=0.0,
            call_probability=CALLED_BY_CAMERAS if call is None else call,
            pseudo_classes=frozenset(self._taxonomy.pseudo_classes if self._taxonomy else ()),
            alarms=settings.alarm,
            grading=None if grading is None else grading.excluding(conditions.head_mm, conditions.tail_mm),
            alarm_settings=settings.alarms,
            system_alarms=settings.system_alarms,
            side=settings.side,
            camera=settings.strip.name,
            periodic=settings.periodic,
            rolls=settings.roll,
            conditions=conditions,
            config=self.config,
        )
