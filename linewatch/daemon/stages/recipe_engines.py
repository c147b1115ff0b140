"""Loads the engines that recipes name in place of the default's."""

from collections.abc import Callable, Mapping

import structlog

from linewatch.config.recipe import RecipeEngines
from linewatch.contracts.errors import LinewatchError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.inference.engines import Engine, best_sibling, find_engine, load_engine
from linewatch.inference.settings import InferenceSettings

log = structlog.get_logger()

LoadedEngine = tuple[Engine, int]
"""An engine and its generation, a number that the pool knows it by."""
LoadedEngines = dict[Task, LoadedEngine]


def ready_at_once(wanted: Mapping[str, RecipeEngines], settings: InferenceSettings, backend: Backend) -> bool:
    """Return whether the backend runs all these engines without building a plan first."""
    names = {name for engines in wanted.values() for name in engines.names}
    try:
        found = [find_engine(settings.engines_dir, name, settings.trusted_signers).manifest for name in names]
    except LinewatchError:
        return True  # so that the error is known at once
    return all(backend.ready(manifest, settings.ladder) for manifest in found)


def load_recipe_engines(
    wanted: Mapping[str, RecipeEngines],
    settings: InferenceSettings,
    backend: Backend,
    load: Callable[[Engine], LoadedEngine],
) -> tuple[dict[str, LoadedEngines], str | None]:
    """Return the engines of each recipe as this backend runs them best, and why one cannot be used.

    wanted: by recipe. load: opens an engine, or raises a LinewatchError; then it is left out and logged.
    """
    endings, trusted = backend.siblings if settings.precision == "int8" else (), settings.trusted_signers
    loaded: dict[tuple[Task, str], LoadedEngine] = {}
    of_recipes: dict[str, LoadedEngines] = {}
    trouble = None
    for recipe, engines in wanted.items():
        of_recipes[recipe] = {}
        for task, name in ((task, getattr(engines, task.value)) for task in Task):
            if name is None:
                continue
            try:
                if (task, name) not in loaded:
                    engine = load_engine(settings.engines_dir, name, task, trusted)
                    loaded[task, name] = load(best_sibling(engine, endings, trusted))
                of_recipes[recipe][task] = loaded[task, name]
            except LinewatchError as error:
                trouble = f"recipe {recipe}: {error}"
                log.error("recipe_engine_refused", recipe=recipe, engine=name, error=str(error))
    return of_recipes, trouble
