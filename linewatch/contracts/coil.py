"""A coil's name, its data from the mill (Level 2), and what applies to the coil while it passes."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, WithJsonSchema

from linewatch.contracts.bounds import made_printable, printable

MAX_COIL_NAME: Final = 200
"""Characters of a coil's name, after its normalisation."""

_PLAIN: Final = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9_-])?")
_DIGEST: Final = re.compile(r".*-[0-9a-f]{16}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def checked_coil_name(text: str) -> str:
    """Return a coil's name as linewatch keeps it: any printable text in Unicode's form NFC, without blanks around it.

    Blanks around a name are cut off, as Level 2 systems pad their fields with them. Raises ValueError for a name that
    is empty, longer than `MAX_COIL_NAME`, or contains characters that cannot be printed.
    """
    name = unicodedata.normalize("NFC", text.strip(" "))
    if not 1 <= len(name) <= MAX_COIL_NAME:
        found = f"{name[:40]!r}... has {len(name)} characters" if name else f"{text[:40]!r} is empty"
        raise ValueError(f"{found}, expected a coil's name of 1 to {MAX_COIL_NAME} characters; choose such a name")
    return printable(name)


def _checked(value: Any) -> Any:
    return checked_coil_name(value) if isinstance(value, str) else value


CoilName = Annotated[
    str, BeforeValidator(_checked), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_COIL_NAME})
]
"""A coil's name in a model; `checked_coil_name` says what it may be."""


def coil_name(text: str) -> str:
    """Return a coil's name made of any text, such as a file's name: what a name must not contain becomes `_`."""
    return unicodedata.normalize("NFC", made_printable(text)).strip(" ")[:MAX_COIL_NAME].strip(" ") or "coil"


def file_name(name: str) -> str:
    """Return a name for files, folders and URLs: ASCII letters, digits, `_`, `.` and `-`, at most 120 characters.

    Different names give different results, also where file systems do not distinguish capitals: unless a name is plain
    already, 16 digits of its SHA-256 are added. None begins with a dot.
    """
    if _PLAIN.fullmatch(name) and not _DIGEST.fullmatch(name):
        return name
    readable = _UNSAFE.sub("_", name)[:100]
    if readable.startswith("."):
        readable = f"_{readable[1:]}"
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class CoilData:
    """One coil's data, from a command or a file. None: not known. The crops are cut off before delivery."""

    coil: str
    steel_grade: str | None = None
    product: str | None = None
    customer: str | None = None
    thickness_mm: float | None = None
    width_mm: float | None = None
    length_mm: float | None = None
    head_crop_mm: float | None = None
    tail_crop_mm: float | None = None


@dataclass(frozen=True, slots=True)
class CoilConditions:
    """The data, recipe and excluded ends that apply to one coil while it passes.

    recipe: its name; None: the default settings. head_mm, tail_mm: lengths of the excluded ends. between: no coil is
    under the camera, only strip between two coils. notes: remarks for an operator, such as why the default applies.
    """

    data: CoilData | None = None
    recipe: str | None = None
    head_mm: float = 0.0
    tail_mm: float = 0.0
    between: bool = False
    notes: tuple[str, ...] = ()

    def noted(self, *notes: str) -> Self:
        """Return the conditions with these remarks behind their own, each of them once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def excludes(self, along_mm: tuple[float, float], end_mm: float | None = None) -> bool:
        """Return whether all of this stretch lies in an excluded end.

        end_mm: where the coil ends; None: take the length in the coil's data; without it the tail is unknown.
        """
        if end_mm is None and self.data is not None:
            end_mm = self.data.length_mm
        return along_mm[1] <= self.head_mm or (
            self.tail_mm > 0 and end_mm is not None and along_mm[0] >= end_mm - self.tail_mm
        )
