"""A defect as a flat record, the form that the wire, the history and the tables of reports share.

The record's fields derive from `Defect`: its box becomes two intervals, its class scores and its evidence become
mappings. In a table
an interval takes two columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from linewatch.contracts.bounds import Score
from linewatch.contracts.verdict import Defect, StripBox


@dataclass(frozen=True, slots=True)
class DefectField:
    """One field of the flat record.

    annotation: its type with the bounds and the description that `Defect` gives it. kind: the type of a value that is
    there: bool, int, float, str, an enumeration, tuple for an interval, dict for numbers by name. default: MISSING
    where there is none. path: where a `Defect` has the value.
    """

    name: str
    annotation: Any
    kind: type
    nullable: bool
    default: Any
    path: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of its columns in a table."""
        if self.kind is not tuple:
            return (self.name,)
        stem = self.name.removesuffix("_mm")
        return f"{stem}_begin_mm", f"{stem}_end_mm"


def _declared() -> Iterator[DefectField]:
    hints = get_type_hints(Defect, include_extras=True)
    for one in fields(Defect):
        annotation, default = hints[one.name], one.default
        if one.name == "box":
            for name, interval in get_type_hints(StripBox).items():
                yield DefectField(name, interval, tuple, False, default, f"box.{name}")
            continue
        if one.name == "class_scores":  # keeps its description
            annotation, default = Annotated[(dict[str, Score], *annotation.__metadata__)], {}
        if one.name == "evidence":
            annotation, default = Annotated[(dict[str, float], *annotation.__metadata__)], {}
        yield DefectField(one.name, annotation, *_kind(annotation), default, one.name)


def _kind(annotation: Any) -> tuple[type, bool]:
    """Return the bare type behind bounds and `| None`, and whether None is a value."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    others = [one for one in get_args(annotation) if one is not type(None)]
    if len(others) < len(get_args(annotation)):
        return _kind(others[0])[0], True
    return get_origin(annotation) or annotation, False


DEFECT_FIELDS: Final = tuple(_declared())
PASSAGE_FIELDS: Final = ("coil", "side", "camera")
"""Fields in which all defects of a passage agree: tables of one passage leave them out.

In a passage of both sides they agree in all but the side, which `side_of` tells.
"""

BOTH_SIDES: Final = "both"
"""The side of a passage under cameras on both sides; each of its defects names its own side, also in its id."""

_NAMES: Final = tuple(field.name for field in DEFECT_FIELDS)
_ENUMERATIONS: Final = tuple(field for field in DEFECT_FIELDS if issubclass(field.kind, Enum))
_OF_DEFECT: Final = attrgetter(*(field.path for field in DEFECT_FIELDS))
_OF_RECORD: Final = attrgetter(*(field.name for field in DEFECT_FIELDS))


def to_flat(defect: Defect) -> dict[str, Any]:
    """Return the values by name, in the order of `DEFECT_FIELDS`."""
    values = _by_name(_OF_DEFECT(defect))
    values["class_scores"], values["evidence"] = dict(defect.class_scores), dict(defect.evidence)
    return values


def flat_of(record: Any) -> dict[str, Any]:
    """Return the values by name of an object with attributes of these names, such as a message of the wire."""
    return _by_name(_OF_RECORD(record))


def from_flat(values: Mapping[str, Any]) -> Defect:
    """Return the defect with these values by name, enumerations also as strings. The inverse of `to_flat`."""
    known = dict(values)
    for field in _ENUMERATIONS:
        known[field.name] = field.kind(known[field.name])
    scores = sorted(known["class_scores"].items(), key=lambda one: (-one[1], one[0]))
    known["class_scores"], known["evidence"] = tuple(scores), tuple(sorted(known["evidence"].items()))
    box = StripBox(known.pop("across_mm"), known.pop("along_mm"))
    return Defect(**known, box=box)


def side_of(name: str, coil: str, passage_side: str) -> str:
    """Return the side of the defect `name`, as its passage's side and its id tell it."""
    if passage_side != BOTH_SIDES:
        return passage_side
    return name.removeprefix(f"{coil}/").partition("/")[0]


def to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a flat record by column."""
    columns: dict[str, Any] = {}
    for field in DEFECT_FIELDS:
        value = values[field.name]
        columns |= zip(field.columns, value if field.kind is tuple else (value,), strict=True)
    return columns


def from_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat record with these values by column. The inverse of `to_columns`."""
    values = {field.name: tuple(columns[name] for name in field.columns) for field in DEFECT_FIELDS}
    return {field.name: values[field.name] if field.kind is tuple else values[field.name][0] for field in DEFECT_FIELDS}


def _by_name(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_NAMES, values, strict=True))
