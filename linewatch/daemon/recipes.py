"""Selects the rules for each frame: by the engines that inspected it, its coil's data and the newest rule files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import structlog

from linewatch.config.grading_file import DEFAULT
from linewatch.config.normal import check_normal, fits_engine, read_normal
from linewatch.config.recipe import RecipeSettings, choose_recipe
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.normal import NormalModel
from linewatch.contracts.prediction import Prediction
from linewatch.decision.grading.severity import GradingRules
from linewatch.decision.rules import DecisionRules
from linewatch.inference.engines import EngineSet
from linewatch.service_settings import ServiceSettings, gradings_for

log = structlog.get_logger()

NO_DATA = "no data of this coil: it is inspected by the default"
_RELOADED = (
    *("call_probability", "tell_probability", "sensitivity", "product", "grading"),
    *("normal", "head_excluded_m", "tail_excluded_m"),
)
"""The keys of `[decision]` that a reload reads again; it also reads `[[recipe]]` without its engines."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleFiles:
    """The rule files as read at one time. gradings: by the recipe's name, or `DEFAULT`. normal: None: none is named."""

    settings: ServiceSettings
    gradings: Mapping[str, GradingRules]
    identity: str
    normal: NormalModel | None = None

    @classmethod
    def read(cls, settings: ServiceSettings, taxonomy: Taxonomy | None) -> "RuleFiles":
        """Read the grading rules and what is normal, as these settings name them. Raises ConfigError for a bad file."""
        found = gradings_for(settings, taxonomy)
        gradings = {name: GradingRules.of(rules, taxonomy) for name, rules in found.items()} if taxonomy else {}
        path = settings.decision.normal
        return cls(settings, gradings, settings.identity(), None if path is None else read_normal(path))

    def recipe_of(self, data: CoilData | None) -> RecipeSettings | None:
        """Return the recipe for a coil with these data; None: the default."""
        return choose_recipe(self.settings.recipe, data)

    def conditions_of(self, data: CoilData | None, *, between: bool = False) -> CoilConditions:
        """Return how a coil with these data is inspected."""
        default, recipe = self.settings.decision, self.recipe_of(data)
        head_m, tail_m = default.head_excluded_m, default.tail_excluded_m
        if recipe is not None:
            head_m = head_m if recipe.head_excluded_m is None else recipe.head_excluded_m
            tail_m = tail_m if recipe.tail_excluded_m is None else recipe.tail_excluded_m
        return CoilConditions(
            data=data,
            recipe=recipe.name if recipe else None,
            head_mm=max(head_m * 1000, (data.head_crop_mm or 0.0) if data else 0.0),
            tail_mm=max(tail_m * 1000, (data.tail_crop_mm or 0.0) if data else 0.0),
            between=between,
            notes=() if recipe or between or not self.settings.recipe else (self._why_default(data),),
        )

    def grading_of(self, conditions: CoilConditions) -> GradingRules | None:
        """Return the rules that grade such a coil; None: it is not graded."""
        rules = self.gradings.get(conditions.recipe or DEFAULT) or self.gradings.get(DEFAULT)
        return None if rules is None else rules.excluding(conditions.head_mm, conditions.tail_mm)

    def _why_default(self, data: CoilData | None) -> str:
        if data is None:
            return NO_DATA
        for name in ("product", "steel_grade", "customer"):
            told = getattr(data, name)
            named = sorted({value for one in self.settings.recipe if (value := getattr(one, name)) is not None})
            if told is not None and named and told not in named:
                return f"no recipe is for {name} {told!r} ({', '.join(named)}): it is inspected by the default"
        return "no recipe is for such a coil: it is inspected by the default"


def rules_of(
    files: RuleFiles,
    engines: EngineSet,
    taxonomy: Taxonomy | None,
    data: CoilData | None = None,
    *,
    grading: GradingRules | None = None,
    conditions: CoilConditions | None = None,
) -> DecisionRules:
    """Return the rules for frames of a coil with these data that these engines inspected. Raises ConfigError."""
    settings, recipe = files.settings, files.recipe_of(data)
    decision = settings.decision
    if recipe is not None and recipe.sensitivity:
        decision = decision.model_copy(update={"sensitivity": recipe.sensitivity})
    if data is not None and data.product is not None:
        decision = decision.model_copy(update={"product": data.product})
    return DecisionRules.from_settings(
        decision,
        settings.alarm,
        settings.line,
        {task: engine.manifest for task, engine in engines.by_task().items()},
        pseudo_classes=taxonomy.pseudo_classes if taxonomy else (),
        normal=files.normal if fits_engine(files.normal, engines.names_classes.manifest) else None,
        grading=grading,
        alarm_settings=settings.alarms,
        system_alarms=settings.system_alarms,
        periodic=settings.periodic,
        rolls=settings.roll,
        conditions=conditions,
        config=files.identity,
    )


class Recipes:
    """`use` and `reload` are for any thread; only the decision's may call the object."""

    def __init__(self, files: RuleFiles, taxonomy: Taxonomy | None, engines: EngineSet) -> None:
        """Raises ConfigError for rules that do not fit these engines."""
        self._taxonomy = taxonomy
        self._engines = {0: engines}  # by serial of the line-up
        self._begun = self.files = files  # those that the present coil began with; the newest
        self._key: tuple[Any, ...] = ()
        self._reloading = Lock()  # a command and a signal may come together: the files read last hold
        self._check(files)
        self.newest = rules_of(files, engines, taxonomy, grading=files.gradings.get(DEFAULT))
        self.now = "", self.newest.conditions  # the present coil, and how it is inspected

    def use(self, lineup: int, engines: EngineSet) -> None:
        """Record the engines of the line-up with this serial, before a frame that it inspected is decided."""
        self._engines[lineup] = engines
        normal, manifest = self.files.normal, engines.names_classes.manifest
        if normal is not None and not fits_engine(normal, manifest):
            log.warning("normal_left_out", normal=normal.identity, learned_with=normal.engine, engine=manifest.name)

    def __call__(self, prediction: Prediction) -> DecisionRules:
        """Return the rules for a frame: its sensitivity from the newest files, its coil's grading and ends from those
        that the coil began with.
        """
        frame, files = prediction.frame, self.files
        key = (frame.coil, prediction.lineup, frame.data, frame.between_coils, files)
        if key != self._key:
            if not self._key or frame.coil != self._key[0]:
                self._begun = files
            conditions = self._begun.conditions_of(frame.data, between=frame.between_coils)
            self.newest = rules_of(
                files,
                self._engines[prediction.lineup],
                self._taxonomy,
                frame.data,
                grading=self._begun.grading_of(conditions),
                conditions=conditions,
            )
            for old in [serial for serial in list(self._engines) if serial < prediction.lineup]:
                del self._engines[old]  # predictions come in order: no frame needs it any more
            self._key = key
            self.now = frame.coil, conditions
        return self.newest

    def for_coil(self, data: CoilData | None, *, between: bool) -> DecisionRules:
        """Return the rules for a coil with these data, as a service begins with them."""
        conditions = self.files.conditions_of(data, between=between)
        grading = self.files.grading_of(conditions)
        return rules_of(self.files, self._engines[0], self._taxonomy, data, grading=grading, conditions=conditions)

    def reload(self, read: Callable[[], ServiceSettings], by: str) -> tuple[RuleFiles, tuple[str, ...]]:
        """Use the files as they are now. Return them, and the settings that differ and wait for a restart.

        On ConfigError nothing has changed.
        """
        with self._reloading:
            return self._reload(read, by)

    def _reload(self, read: Callable[[], ServiceSettings], by: str) -> tuple[RuleFiles, tuple[str, ...]]:
        now, fresh = self.files.settings, read()
        engines = {one.name: one.engines for one in now.recipe}
        recipes = tuple(
            one.model_copy(update={"engines": engines[one.name]}) if one.name in engines else one
            for one in fresh.recipe
        )
        decision = now.decision.model_copy(update={name: getattr(fresh.decision, name) for name in _RELOADED})
        settings = now.model_copy(update={"decision": decision, "recipe": recipes})
        files = RuleFiles.read(settings, self._taxonomy)
        self._check(files)
        left = _left(settings, fresh, engines)
        self.files = files
        log.info("rules_reloaded", by=by, config=files.identity, left=left)
        return files, left

    def _check(self, files: RuleFiles) -> None:
        engines = self._engines[max(list(self._engines))]
        if files.normal is not None and files.settings.decision.normal is not None:
            path, head = files.settings.decision.normal, engines.names_classes.manifest
            check_normal(files.normal, path, files.settings.line, head)
        rules_of(files, engines, self._taxonomy)
        for recipe in files.settings.recipe:
            if recipe.sensitivity:
                alone = files.settings.decision.model_copy(update={"sensitivity": recipe.sensitivity})
                settings = files.settings.model_copy(update={"decision": alone})
                try:
                    rules_of(RuleFiles(settings, {}, ""), engines, self._taxonomy)
                except ConfigError as error:
                    raise ConfigError(f"[[recipe]] '{recipe.name}': {error}") from error


def _left(taken: ServiceSettings, fresh: ServiceSettings, engines: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the settings that are not as in the file."""
    ours, theirs = taken.model_dump(exclude={"recipe", "decision"}), fresh.model_dump(exclude={"recipe", "decision"})
    left = [name for name, value in theirs.items() if ours[name] != value]
    ours, theirs = taken.decision.model_dump(), fresh.decision.model_dump()
    left += [f"decision.{name}" for name, value in theirs.items() if ours[name] != value]
    left += [
        f"recipe.{one.name}.engines"
        for one in fresh.recipe
        if (engines[one.name] != one.engines if one.name in engines else one.engines.names)
    ]
    return tuple(left)
