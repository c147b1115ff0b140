"""Bounded numbers and texts that several contracts and the wire share. pydantic checks them where a value comes in."""

from typing import Annotated

from pydantic import AfterValidator, Field


def printable(text: str) -> str:
    """Return the text. Raises ValueError for control and format characters, which could mislead readers or programs.

    Such are NUL, line breaks, bidirectional overrides, zero-width characters, lone surrogates, and blanks but U+0020.
    """
    if (hidden := next((one for one in text if not one.isprintable()), None)) is not None:
        raise ValueError(
            f"{text!r} contains the character U+{ord(hidden):04X}, which cannot be printed; expected letters, digits, "
            "punctuation and plain blanks; remove it"
        )
    return text


def made_printable(text: str) -> str:
    """Return the text with `_` for each character that `printable` refuses."""
    return "".join(one if one.isprintable() else "_" for one in text)


_INT64 = 1 << 63
Count = Annotated[int, Field(ge=0, lt=_INT64)]
Whole = Annotated[int, Field(ge=-_INT64, lt=_INT64, description="fits 64 bits")]
Score = Annotated[float, Field(ge=0, le=1)]
Severity = Annotated[int, Field(ge=1, le=5, description="1: hardly visible; 5: must never be delivered")]
Mm = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Millimetres; the bounds keep every sum and difference of them finite."""
IntervalMm = tuple[Mm, Mm]
ShortText = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]
Serial = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
"""The serial number of a camera, as it tells it."""
