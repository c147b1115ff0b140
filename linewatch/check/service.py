"""Everything that a service's configuration names, tried."""

from collections.abc import Callable

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.find_calibration import calibrations, camera_serial
from linewatch.check.attempts import bind_endpoint, read_folder, write_into
from linewatch.check.trials import Trials
from linewatch.config.calibrated import calibrated_line, replaced_settings
from linewatch.config.grading_file import DEFAULT
from linewatch.config.normal import read_normal
from linewatch.config.taxonomy import Taxonomy
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import EngineError, SourceError, WireError
from linewatch.contracts.manifest import Task
from linewatch.contracts.normal import NormalModel
from linewatch.contracts.ports import Backend
from linewatch.daemon.recipes import Recipes, RuleFiles
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, best_sibling, load_engine, load_engines, try_engine
from linewatch.service_settings import ServiceSettings, gradings_for
from linewatch.wire.endpoints import check as check_reach
from linewatch.wire.endpoints import load_keys


def check_service(settings: ServiceSettings, trials: Trials, owner: int | None) -> None:
    """Try everything that `linewatch run` opens. owner: the process that runs this configuration already."""
    taxonomy = _check_rules(settings, trials)
    engines = _check_engines(settings, trials)
    if engines is not None and not trials.faults:
        trials.attempt("", "rules", "decision, alarms, recipes", lambda: _rules_for(settings, taxonomy, engines))
    serials: list[str] = []
    if (source := settings.source) is not None:
        path = getattr(source, "path", None)
        trials.attempt(
            "source",
            "path" if path else "type",
            path or source.type,
            lambda: _first_grab(settings, owner, serials.append),
            reads=path,
        )
    serial = serials[0] if serials else settings.calibration.serial or ""
    held = source is not None and source.is_device and owner is not None  # its camera cannot be asked for a serial
    if serial or (settings.calibration.required and not held):
        _check_calibration(settings, trials, serial)
    journal = settings.journal
    trials.attempt("journal", "dir", journal.dir, lambda: write_into(journal.dir, journal.max_mb), writes=journal.dir)
    if settings.coil_data is not None:
        folder = settings.coil_data.folder
        if trials.attempt("coil_data", "folder", folder, lambda: read_folder(folder), reads=folder):
            trials.attempt("coil_data", "folder", folder, lambda: write_into(folder), writes=folder)
    for disk in settings.system_alarms.disks:
        trials.attempt("system_alarms", "disks", disk, lambda disk=disk: read_folder(disk))  # type: ignore[misc]
    check_wire(settings.wire, trials, owner)


def _rules_for(settings: ServiceSettings, taxonomy: Taxonomy | None, engines: EngineSet) -> str:
    Recipes(RuleFiles.read(settings, taxonomy), taxonomy, engines)
    return "name no class that the engines do not have"


def _check_rules(settings: ServiceSettings, trials: Trials) -> Taxonomy | None:
    taxonomy: list[Taxonomy] = []

    def read_taxonomy() -> str:
        assert settings.taxonomy is not None
        taxonomy.append(Taxonomy.read(settings.taxonomy))
        return f"{settings.taxonomy.absolute()}; {len(taxonomy[0].classes)} classes"

    if settings.taxonomy is not None and not trials.attempt(
        "", "taxonomy", settings.taxonomy, read_taxonomy, reads=settings.taxonomy
    ):
        return None
    default = settings.model_copy(update={"recipe": ()})
    named = [("decision", 0, settings.decision.grading, default, DEFAULT)]
    for number, recipe in enumerate(settings.recipe):
        alone = settings.decision.model_copy(update={"grading": None})
        one = settings.model_copy(update={"decision": alone, "recipe": (recipe,)})
        named.append(("recipe", number, recipe.grading, one, recipe.name))
    for section, number, path, alone_settings, name in named:
        if path is not None:

            def rules(alone: ServiceSettings = alone_settings, name: str = name) -> str:
                grading = gradings_for(alone, taxonomy[0] if taxonomy else None)[name]
                return f"{grading.name}, {len(grading.limit)} limits"

            trials.attempt(section, "grading", path, rules, number, reads=path)
    if (normal := settings.decision.normal) is not None:
        trials.attempt("decision", "normal", normal, lambda: _told_of(read_normal(normal)), reads=normal)
    return taxonomy[0] if taxonomy else None


def _told_of(normal: NormalModel) -> str:
    return f"{normal.identity}, of {sum(one.m2 for one in normal.learned):.1f} m2 of strip"


def _check_engines(settings: ServiceSettings, trials: Trials) -> EngineSet | None:
    """Return the engines, if all can be run."""
    inference = settings.inference
    backends: list[Backend] = []
    found: list[EngineSet] = []

    def backend() -> str:
        backends.append(open_backend(inference.backend, inference))
        return "is installed"

    def engines() -> str:
        if not inference.engines_dir.is_dir():
            raise EngineError(
                f"{inference.engines_dir.absolute()}: no such folder, expected one with engines; give the absolute path"
            )
        engines = load_engines(inference, backends[0].siblings)
        loaded = engines.by_task().values()
        for engine in loaded:
            try_engine(engine, backends[0])
        Cascade(engines, inference, settings.line)  # do they fit the frame?
        found.append(engines)
        return f"{inference.engines_dir.absolute()}; {', '.join(engine.manifest.name for engine in loaded)} can be run"

    if not trials.attempt("inference", "backend", inference.backend, backend):
        return None
    for name in inference.fallback:
        trials.attempt("inference", "fallback", name, lambda name=name: str(open_backend(name, inference).name))  # type: ignore[misc]
    if trials.attempt("inference", "engines_dir", inference.engines_dir, engines, reads=inference.engines_dir):
        for number, recipe in enumerate(settings.recipe):
            for task in Task:
                if (name := getattr(recipe.engines, task.value)) is not None:

                    def engine(task: Task = task, name: str = name) -> str:
                        if task not in inference.tasks:
                            raise EngineError(
                                f"{task} is no task of [inference] chain = '{inference.chain}', expected one of "
                                f"{', '.join(inference.tasks)}; remove it, or change the chain"
                            )
                        trusted = inference.trusted_signers
                        one = load_engine(inference.engines_dir, name, task, trusted)
                        one = best_sibling(one, backends[0].siblings, trusted)
                        try_engine(one, backends[0])
                        return f"{one.manifest.name} can be run"

                    trials.attempt("recipe", "engines", name, engine, number)
    if inference.backend == "tensorrt":
        trials.attempt(
            "inference",
            "plan_dir",
            inference.plan_dir,
            lambda: write_into(inference.plan_dir),
            writes=inference.plan_dir,
        )
    return found[0] if found else None


def _check_calibration(settings: ServiceSettings, trials: Trials, serial: str) -> None:
    """Try the calibration of the camera with this serial, and say how old and how good its parts are."""
    folder = settings.calibration.folder

    def found() -> str:
        calibration = calibrations(settings.calibration, settings.line, settings.source)(serial)
        if calibration is None:
            return f"none of camera {serial!r} in {folder.absolute()}; frames are inspected as they come"
        parts = [f"{name.replace('_', ' ')} {part.told_of()}" for name, part in calibration.parts.items()]
        calibrated_line(settings.line, calibration)
        holds = replaced_settings(settings.line, settings.capture, calibration)
        origin = f"{calibration.identity} of camera {calibration.serial!r}"
        return "; ".join((origin, *parts, *holds, *calibration.remarks))

    trials.attempt("calibration", "folder", folder, found, reads=folder if folder.exists() else None)


def _first_grab(settings: ServiceSettings, owner: int | None, tell_serial: Callable[[str], None]) -> str:
    assert settings.source is not None
    if settings.source.is_device and owner is not None:
        return f"not opened: process {owner} runs this configuration, and has it"
    with open_camera(settings.source, settings.line, MonotonicClock(), live=False) as camera:
        tell_serial(camera_serial(settings.calibration, camera.serial))
        if (grab := camera.read()) is None:
            raise SourceError("it has no frame, expected at least one; name another source")
        size = "damaged" if grab.image is None else f"{grab.image.shape[1]} px x {grab.image.shape[0]} lines"
    return "; ".join((f"opens; first frame: {size}", *settings.source.told()))


def check_wire(wire: WireSettings, trials: Trials, owner: int | None) -> None:
    """Try the keys and the addresses of a service's sockets. owner: the process that has bound them already."""
    if wire.keys is not None:
        keys = wire.keys

        def opened() -> str:
            loaded = load_keys(wire)
            assert loaded is not None
            return "the pair is good, and no file of the list is at fault"

        secret = keys.server_secret_file
        trials.attempt("wire.keys", "server_secret_file", secret, opened, reads=secret)
    bound_already: set[str] = set()
    for name in ("publish", "serve", "commands"):
        if (endpoint := getattr(wire, name)) is not None:

            def bound(name: str = name, endpoint: str = endpoint) -> str:
                check_reach(endpoint, wire.keys is not None, name)
                if endpoint in bound_already and not endpoint.endswith(":*"):
                    raise WireError(f"{endpoint} is another socket of [wire] as well, expected one of its own")
                bound_already.add(endpoint)
                return bind_endpoint(endpoint, owner)

            trials.attempt("wire", name, endpoint, bound)
