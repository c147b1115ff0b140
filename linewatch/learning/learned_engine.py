"""A new engine beside the old one: the same network, and another second stage."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, EngineManifest, Lineage
from linewatch.contracts.probability import ProbabilityModel
from linewatch.files import write_file
from linewatch.inference.engines import Engine, find_engine
from linewatch.learning.instances import INSTANCES, LabelledInstances

CARD = "CARD.md"
_HEADING = "## Second stage"


def family(engines_dir: Path, name: str) -> list[Engine]:
    """Return the engine, verified, and behind it its INT8 siblings: those made of its model. Raises EngineError."""
    engine = find_engine(engines_dir, name)
    found = [engine]
    for path in sorted(engines_dir.glob(f"{name}-*/{MANIFEST}")):
        if not re.search(r"-\d+(-|$)", path.parent.name.removeprefix(name)):  # another generation, with its own
            sibling = find_engine(engines_dir, path.parent.name)
            made_of = sibling.manifest.quantisation
            if made_of is not None and made_of.source_sha256 == engine.manifest.model.sha256:
                found.append(sibling)
    return found


def write_second_stage(
    engines_dir: Path, name: str, model: ProbabilityModel, instances: LabelledInstances
) -> list[Path]:
    """Give the engine `name` and its INT8 siblings this second stage, in place; return their folders.

    instances: what it was fitted on, kept beside each. Raises EngineError.
    """
    engines = family(engines_dir, name)
    for engine in engines:
        instances.write(engine.directory, model.version)
        _write_manifest(engine.directory, _checked(engine.manifest, probability=model))
    return [engine.directory for engine in engines]


def write_successor(
    engines_dir: Path, name: str, model: ProbabilityModel, instances: LabelledInstances, labels: int
) -> list[Path]:
    """Write the engine `name` and its INT8 siblings anew with this second stage, as NAME-2, NAME-3, ...; return their
    folders, the engine's first.

    labels: how many of a mill's labels are behind it. A folder appears under its name when it is whole. Raises
    EngineError.
    """
    engines = family(engines_dir, name)
    new_name = _free_name(engines_dir, engines[0].manifest)
    written = []
    # The engine itself comes last: who finds it finds its siblings.
    for engine in reversed(engines):
        old = engine.manifest
        ending = old.name.removeprefix(name)
        lineage = Lineage(
            engine=old.name,
            version=old.version,
            second_stage=old.probability.version if old.probability else "",
            labels=labels,
            learned_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
        quantisation = old.quantisation and old.quantisation.model_copy(update={"source": new_name})
        manifest = _checked(
            old,
            name=new_name + ending,
            version=f"{old.version.partition('+')[0]}+{model.version}",
            probability=model,
            learned_from=lineage,
            quantisation=quantisation,
        )
        written.append(_write_folder(engine, manifest, instances))
    return written[::-1]


def _free_name(engines_dir: Path, manifest: EngineManifest) -> str:
    stem = re.sub(r"-\d+$", "", manifest.name) if manifest.learned_from else manifest.name
    taken = {path.name for path in engines_dir.iterdir()}
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _checked(manifest: EngineManifest, **changes: object) -> EngineManifest:
    """Return the manifest with these changes, validated."""
    return EngineManifest.model_validate({**manifest.model_dump(), **_dumped(changes)})


def _dumped(changes: dict[str, object]) -> dict[str, object]:
    return {name: one.model_dump() if hasattr(one, "model_dump") else one for name, one in changes.items()}


def _write_folder(engine: Engine, manifest: EngineManifest, instances: LabelledInstances) -> Path:
    engines_dir, folder = engine.directory.parent, engine.directory.parent / manifest.name
    try:
        draft = Path(tempfile.mkdtemp(prefix=".learning-", dir=engines_dir))
        try:
            draft.chmod(engine.directory.stat().st_mode & 0o777)
            for path in _files(engine):
                shutil.copyfile(path, draft / path.name)
            assert manifest.probability is not None
            instances.write(draft, manifest.probability.version)
            _write_manifest(draft, manifest)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise EngineError(
            f"{folder}: cannot be written ({error.strerror}); make {engines_dir} writable, or name a copy of it"
        ) from error
    return folder


def _files(engine: Engine) -> Iterator[Path]:
    """Yield what a successor has in common with the engine: all but the manifest and the instances."""
    yield from (
        path for path in engine.directory.iterdir() if path.is_file() and path.name not in (MANIFEST, INSTANCES)
    )


def _write_manifest(folder: Path, manifest: EngineManifest) -> None:
    """Write the manifest, and what it says of the second stage to the card."""
    model, card = manifest.probability, folder / CARD
    assert model is not None
    before = card.read_text().partition(_HEADING)[0].rstrip() if card.is_file() else f"# Engine `{manifest.name}`"
    lineage = manifest.learned_from
    came_from = (
        f"Learned {lineage.learned_at} from {lineage.labels} labels of a mill; before, it was `{lineage.engine}` "
        f"{lineage.version}.\n\n"
        if lineage
        else ""
    )
    told = (
        f"{_HEADING}\nVersion {model.version}. {model.fitted_on}\n\n{came_from}Told from probability "
        f"{model.tell_probability:g}, called from {model.call_probability:g}.\n"
    )
    write_file(card, f"{before}\n\n{told}".encode())
    write_file(folder / MANIFEST, manifest.text().encode())
