"""Engines on disk: `engines/NAME/` holds a model, its manifest and its card. Only verified engines are opened."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import CASCADE, MANIFEST, EngineManifest, Task
from linewatch.contracts.ports import Backend
from linewatch.inference.reference_tiles import (
    ReferenceTiles,
    lacking,
    precision_of,
    read_reference_tiles,
    try_out,
    write_reference_tiles,
)
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.signatures import verify


@dataclass(frozen=True, slots=True)
class Engine:
    """A verified engine: the hash of the bytes in `model` is the one in its manifest."""

    manifest: EngineManifest
    directory: Path
    model: bytes = field(repr=False)
    reference: ReferenceTiles | None = field(default=None, repr=False)  # None: it has none


CHAINS = "expected screen, classify and segment, or inspect alone"


@dataclass(frozen=True, slots=True)
class EngineSet:
    """The engines of a chain: the three of the cascade, or the one that inspects a whole frame at once."""

    screen: Engine | None = None
    classify: Engine | None = None
    segment: Engine | None = None
    inspect: Engine | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless these are all engines of one chain."""
        if tuple(self.by_task()) not in (CASCADE, (Task.INSPECT,)):
            raise ValueError(f"engines of {', '.join(self.by_task())} are no chain: {CHAINS}")

    def by_task(self) -> dict[Task, Engine]:
        """Return the engines that there are by their task, in the chain's order."""
        engines = zip(Task, (self.screen, self.classify, self.segment, self.inspect), strict=True)
        return {task: engine for task, engine in engines if engine is not None}

    @property
    def looks(self) -> Engine:
        """The engine that looks at every frame: screen or inspect."""
        return self._inspect_or(self.screen)

    @property
    def names_classes(self) -> Engine:
        """The engine that tells the classes of defects: classify or inspect."""
        return self._inspect_or(self.classify)

    @property
    def outlines(self) -> Engine:
        """The engine that outlines defects: segment or inspect."""
        return self._inspect_or(self.segment)

    def _inspect_or(self, engine: Engine | None) -> Engine:
        found = self.inspect or engine
        assert found is not None  # they are a chain
        return found


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One row of `linewatch engines`. fault: why the engine cannot be used, or None. lacks: what cannot be checked."""

    name: str
    manifest: EngineManifest | None
    model_bytes: int
    fault: str | None
    reference_tiles: int = 0
    lacks: str | None = None


def find_engine(engines_dir: Path, name: str, trusted: Sequence[str] = ()) -> Engine:
    """Read and verify `engines_dir/name/`, of any task. trusted: public keys; the holder of one must have signed it.

    Raises EngineError when something is missing, damaged or not signed.
    """
    directory = engines_dir / name
    manifest = _read_manifest(directory, engines_dir, trusted)
    return Engine(manifest, directory, _read_model(directory, manifest), read_reference_tiles(directory, manifest))


def load_engine(engines_dir: Path, name: str, task: Task, trusted: Sequence[str] = ()) -> Engine:
    """Return the engine `name`. Raises EngineError as `find_engine` does, and when it has another task."""
    engine = find_engine(engines_dir, name, trusted)
    if engine.manifest.task is not task:
        raise EngineError(
            f"engine {name}: its task is {engine.manifest.task}, inference.{task} expects one with task {task}; "
            f"name one of {_names(engines_dir)} with that task"
        )
    return engine


def best_sibling(engine: Engine, endings: Sequence[str], trusted: Sequence[str] = ()) -> Engine:
    """Return the first INT8 sibling with one of these endings that was made from this engine, else the engine itself.

    Raises EngineError for a damaged sibling, and for one that no trusted signer signed.
    """
    for ending in endings:
        directory = engine.directory.with_name(f"{engine.manifest.name}-{ending}")
        if (directory / MANIFEST).is_file():
            sibling = find_engine(directory.parent, directory.name, trusted)
            quantisation = sibling.manifest.quantisation
            if quantisation is not None and quantisation.source_sha256 == engine.manifest.model.sha256:
                return sibling
    return engine


def load_engines(settings: InferenceSettings, siblings: Sequence[str] = ()) -> EngineSet:
    """Return the engines of the chain that `[inference]` names, or INT8 siblings where its precision is int8.

    siblings: endings, best first. Raises EngineError, also when the tiles of classify and segment differ in size.
    """
    endings, trusted = siblings if settings.precision == "int8" else (), settings.trusted_signers

    def load(task: Task) -> Engine:
        engine = load_engine(settings.engines_dir, getattr(settings, task.value), task, trusted)
        return best_sibling(engine, endings, trusted)

    found = {task.value: load(task) for task in settings.tasks}
    engines = EngineSet(**found)
    if settings.chain == "inspect":
        return engines
    ours, theirs = engines.names_classes.manifest.input, engines.outlines.manifest.input
    if (ours.lines, ours.width) != (theirs.lines, theirs.width):
        raise EngineError(
            f"engine {settings.classify} takes tiles of {ours.lines} lines x {ours.width} px and "
            f"{settings.segment} of {theirs.lines} x {theirs.width}, expected equal tiles; "
            "choose engines of one size"
        )
    return engines


def verify_all(engines_dir: Path, backend: Backend) -> tuple[EngineReport, ...]:
    """Verify every engine under `engines_dir`, by name, as the service does. Raises EngineError if it is no folder."""
    if not engines_dir.is_dir():
        raise EngineError(f"{engines_dir}: no such folder, expected one with engines; set inference.engines_dir")
    folders = [one for one in sorted(engines_dir.iterdir()) if one.is_dir() or one.is_symlink()]
    return tuple(_report(folder, backend) for folder in folders if not folder.name.startswith("."))


def add_reference_tiles(engines_dir: Path, name: str) -> EngineManifest:
    """Keep the engine's present answers beside it, to be compared with from now on. Raises EngineError."""
    directory = engines_dir / name
    _read_model(directory, _read_manifest(directory, engines_dir))
    return write_reference_tiles(directory)


def _report(directory: Path, backend: Backend) -> EngineReport:
    manifest, model = None, b""
    try:
        manifest = _read_manifest(directory, directory.parent)
        model = _read_model(directory, manifest)
        reference = read_reference_tiles(directory, manifest)
        lacks = None if reference else lacking(manifest)
        if not try_engine(Engine(manifest, directory, model, reference), backend):
            lacks = f"its plan is not built, so that it was not run; run `linewatch build {manifest.name}` first"
    except EngineError as fault:
        return EngineReport(directory.name, manifest, len(model), str(fault))
    return EngineReport(directory.name, manifest, len(model), None, len(reference.tiles) if reference else 0, lacks)


def try_engine(engine: Engine, backend: Backend) -> bool:
    """Run an engine on its reference tiles; return False, unrun, where a plan must be built first. Raises EngineError
    for an engine that the service would refuse.
    """
    backend.check(engine.manifest, engine.model)
    if not backend.ready(engine.manifest, (1,)):
        return False
    (executor,) = backend.open(engine.manifest, engine.model, (1,), 1)
    try:
        precision = precision_of(backend.identity(engine.manifest))
        try_out(engine.manifest, engine.reference, precision, lambda tile: executor.run(tile, 1))
    finally:
        executor.close()
    return True


def _read_manifest(directory: Path, engines_dir: Path, trusted: Sequence[str] = ()) -> EngineManifest:
    path = directory / MANIFEST
    if not directory.is_dir():
        raise EngineError(
            f"{directory}: no such engine, expected one of {_names(engines_dir)}; set inference.engines_dir or the name"
        )
    try:
        data = path.read_bytes()
        if trusted:
            verify(directory, trusted, data)
        manifest = EngineManifest.parse(data)
    except OSError as error:
        raise EngineError(
            f"{path}: cannot be read ({error.strerror}), expected a folder with {MANIFEST} and a model; export it again"
        ) from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, f['loc'])) or 'file'}: {f['msg'].removeprefix('Value error, ')}"
            for f in error.errors()
        )
        raise EngineError(f"{path}: is not an engine manifest ({faults}); export the engine again") from error
    if manifest.name != directory.name:
        raise EngineError(f"{path}: names itself {manifest.name}, expected its folder's name; rename one of the two")
    return manifest


def _read_model(directory: Path, manifest: EngineManifest) -> bytes:
    path = directory / manifest.model.file
    if path.parent != directory:
        raise EngineError(
            f"engine {manifest.name}: model.file is {manifest.model.file!r}, expected a file beside "
            f"{MANIFEST}; correct it there"
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{path}: cannot be read ({error.strerror}); its manifest promises it; export or copy the engine again"
        ) from error
    found = hashlib.sha256(model).hexdigest()
    if found != manifest.model.sha256:
        raise EngineError(
            f"{path}: sha256 is {found[:12]}..., its manifest promises {manifest.model.sha256[:12]}...; "
            "the file is damaged or not this engine's: export or copy the engine again"
        )
    return model


def _names(engines_dir: Path) -> str:
    names = sorted(p.parent.name for p in engines_dir.glob(f"*/{MANIFEST}"))
    return ", ".join(names) if names else f"none in {engines_dir}"
