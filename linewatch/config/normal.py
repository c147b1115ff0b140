"""Read and write the files about what is normal on a line (`linewatch.contracts.normal`)."""

from pathlib import Path

from pydantic import ValidationError

from linewatch.config.line import LineSettings
from linewatch.config.text import read_text
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.normal import LineOfNormal, NormalModel

_SCALE_TOLERANCE = 0.01


def read_normal(path: Path) -> NormalModel:
    """Return the model in a file. Raises ConfigError."""
    remedy = "write one with `linewatch learn-normal`, or name another"
    text = read_text(path, remedy)
    try:
        return NormalModel.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path}: {where}: {first['msg']}; {remedy}") from error


def line_of(line: LineSettings) -> LineOfNormal:
    """Return what a model keeps of the line whose strip it learned from."""
    return LineOfNormal(
        side=line.side,
        camera=line.camera,
        width_px=line.width_px,
        mm_per_px=line.mm_per_px,
        mm_per_line=line.mm_per_line,
    )


def check_normal(model: NormalModel, path: Path, line: LineSettings, engine: EngineManifest) -> None:
    """Raise ConfigError unless the model is of this line and of this engine's probability model."""
    ours, theirs = line_of(line), model.line
    for name in ("camera", "side", "width_px"):
        if getattr(ours, name) != getattr(theirs, name):
            raise _other_line(path, name, getattr(theirs, name), getattr(ours, name))
    for name in ("mm_per_px", "mm_per_line"):
        found, expected = getattr(theirs, name), getattr(ours, name)
        if abs(found - expected) > _SCALE_TOLERANCE * expected:
            raise _other_line(path, name, found, expected)
    if engine.probability is None:
        raise ConfigError(
            f"{path}: engine {engine.name} has no probability model, which what is normal adds to; take [decision] "
            "normal out, or use an engine that has one"
        )
    if engine.probability.version != model.reference.probability:
        raise ConfigError(
            f"{path}: belongs to version {model.reference.probability} of the probability model, engine {engine.name} "
            f"has version {engine.probability.version}; learn it again with `linewatch learn-normal --new`"
        )


def fits_engine(model: NormalModel | None, engine: EngineManifest) -> bool:
    """Return whether there is a model and it belongs to the probability model of this engine."""
    return (
        model is not None
        and engine.probability is not None
        and engine.probability.version == model.reference.probability
    )


def _other_line(path: Path, name: str, found: object, expected: object) -> ConfigError:
    return ConfigError(
        f"{path}: was learned from strip of a line with {name} {found}, this line's is {expected}; name this line's "
        "file, or learn it with `linewatch learn-normal`"
    )
