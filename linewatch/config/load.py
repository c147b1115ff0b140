"""Read a configuration file, and explain its faults: found, expected, remedy."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from linewatch.config.places import line_of
from linewatch.config.text import read_text
from linewatch.contracts.errors import ConfigError

UNITS = {
    "mm": "millimetres",
    "mm2": "square millimetres",
    "m": "metres",
    "px": "pixels",
    "lines": "lines",
    "hz": "hertz",
    "ms": "milliseconds",
    "s": "seconds",
    "mb": "megabytes",
    "days": "days",
}
S = TypeVar("S", bound=BaseModel)
OTHER_UNITS = {"um", "cm", "km", "inch", "in", "khz", "mhz", "us", "ns", "kb", "gb", "min", "mps"} | set(UNITS)


def load(path: Path, model: type[S]) -> S:
    """Return the settings in the TOML file `path`; relative paths in it count from the working directory.

    Raises ConfigError naming file, place, what was found, what was expected and the remedy, for all faults at once.
    """
    text = read_text(path, "give the path of a TOML configuration")
    return checked(toml_of(text, path), str(path), model, text)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tree of a TOML file. Raises ConfigError."""
    return toml_of(read_text(path, "give the path of a TOML configuration"), path)


def toml_of(text: str, path: Path) -> dict[str, Any]:
    """Return the tree of a TOML text; `path` names it in errors. Raises ConfigError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
        raise ConfigError(_not_toml(str(error), text, path)) from error


def _not_toml(why: str, text: str, path: Path) -> str:
    """Say what is wrong with the text: with its line, and the remedy for what people often write."""
    at = re.search(r" \(at line (\d+), column \d+\)", why)
    if at is None:
        return f"{path}: is not TOML: {why}"
    line = text.splitlines()[int(at[1]) - 1].strip()
    value = line.partition("=")[2].strip()
    remedies = {
        r'"[^"\']*\\.*"': "a path with backslashes stands in single quotes: 'C:\\data'",
        r"[+-]?\d+,\d+": "write decimals with a point: 0.5",
        r"(true|false|yes|no|on|off)": "write true or false, in small letters",
        r"[A-Za-z/.][^\"'\[{]*": "text and paths stand in quotes",
    }
    remedy = next(
        (remedy for sign, remedy in remedies.items() if re.fullmatch(rf"(?:{sign})\s*(#.*)?", value, re.IGNORECASE)), ""
    )
    said = f"{path}, line {at[1]}: is not TOML: {why.replace(at[0], '')}: `{line:.80}`"
    return f"{said}; {remedy}" if remedy else said


def checked(tree: Mapping[str, Any], origin: str, model: type[S], text: str = "") -> S:
    """Validate a tree as TOML gives it. `origin` names it in errors, `text` gives their lines. Raises ConfigError."""
    settings, faults = validated(model, dict(tree), origin, text)
    if settings is None:
        raise ConfigError("\n".join(faults))
    return settings


def validated(model: type[S], tree: Any, origin: str, text: str = "") -> tuple[S | None, list[str]]:
    """Return the tree as a model; or None, and a line for each fault. text: the file, which gives their lines."""
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, [f"{origin}{_line(fault, text)}: {_explain(fault, model)}" for fault in error.errors()]


def _line(fault: ErrorDetails, text: str) -> str:
    """Return `, line N` of the key at fault, or else of its section; empty where neither stands in the text."""
    loc = list(fault["loc"])
    if len(loc) > 1 and loc[0] == "source":
        del loc[1]
    names = [str(part) for part in loc if not isinstance(part, int)]
    number = next((part for part in loc if isinstance(part, int)), 0)
    for section, key in ((names[:-1], names[-1:]), (names, []), (names[:-1], [])):
        if (section or key) and (found := line_of(text, ".".join(section), "".join(key), number)):
            return f", line {found}"
    return ""


def _explain(fault: ErrorDetails, root: type[BaseModel]) -> str:
    loc = [str(part) for part in fault["loc"]]
    kind = loc.pop(1) if len(loc) > 1 and loc[0] == "source" else None  # the union's tag is not a place in the file
    place = f"[{'.'.join(loc[:-1])}] {loc[-1]}" if len(loc) > 1 else loc[-1] if loc else ""
    found = fault["input"]
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; {_remedy(loc[-1], _known_keys(loc[:-1], root, kind))}"
    if fault["type"] == "missing":
        return f"{place}: is missing and has no default; add it"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if fault["type"] == "value_error":
        return f"{place}: {expected}" if place else expected
    place = place or "the file"
    if fault["type"] == "union_tag_invalid":
        return f"{place}: type {found.get('type')!r} is unknown, expected one of {fault['ctx']['expected_tags']}"
    if fault["type"] == "union_tag_not_found":
        kinds = [
            repr(kind) for model in _models_at(loc, root) for kind in get_args(model.model_fields["type"].annotation)
        ]
        return f"{place}: type is missing, expected one of {', '.join(kinds)}"
    if fault["type"] == "tuple_type" and isinstance(found, dict):
        expected = f"several: write [[{'.'.join(loc)}]], in double brackets"
    unit = unit_in_words(loc[-1]) if loc else ""
    in_unit = f", in {unit}" if unit else ""
    bare = " without quotes or unit" if isinstance(found, str) and fault["type"] in {"float_type", "int_type"} else ""
    return f"{place}: found {found!r}, expected {expected}{bare}{in_unit}"


def _remedy(key: str, known: list[str]) -> str:
    stem, unit = key.rpartition("_")[0], _unit(key)
    for name in known:
        if unit in OTHER_UNITS and stem and name.rpartition("_")[0] == stem:
            return f"the unit here is {unit_in_words(name)}: write {name}"
    for name in known:
        if _unit(name) in UNITS and name.rpartition("_")[0] == key:
            return f"its unit is missing: write {name}, in {unit_in_words(name)}"
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known keys: {', '.join(known)}"


def _unit(key: str) -> str:
    return key.rpartition("_")[2]


def unit_in_words(key: str) -> str:
    """Return the unit in a name, `mm_per_px` -> "millimetres per px"; empty where the name has none."""
    head, per, last = key.rpartition("_per_")
    if per:
        return f"{UNITS.get(_unit(head), head)} per {last}"
    return UNITS.get(_unit(key), "")


def _known_keys(parents: list[str], root: type[BaseModel], kind: str | None) -> list[str]:
    """Return the keys known at a place; of a union's models only those of the model of this kind."""
    models = _models_at(parents, root)
    of_kind = [
        one for one in models if "type" in one.model_fields and kind in get_args(one.model_fields["type"].annotation)
    ]
    return sorted({name for model in of_kind or models for name in model.model_fields})


def _models_at(parents: list[str], root: type[BaseModel]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [root]
    for parent in parents:
        if not parent.isdigit():
            models = [inner for model in models if parent in model.model_fields
                      for inner in _models_in(model.model_fields[parent].annotation)]  # fmt: skip
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
