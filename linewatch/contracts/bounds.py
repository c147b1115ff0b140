"""Bounded numbers that several contracts and the wire share. pydantic checks the bounds where a value comes in."""

from typing import Annotated

from pydantic import Field

_INT64 = 1 << 63
Count = Annotated[int, Field(ge=0, lt=_INT64)]
Whole = Annotated[int, Field(ge=-_INT64, lt=_INT64, description="fits 64 bits")]
Score = Annotated[float, Field(ge=0, le=1)]
Severity = Annotated[int, Field(ge=1, le=5, description="1: hardly visible; 5: must never be delivered")]
Mm = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Millimetres; the bounds keep every sum and difference of them finite."""
IntervalMm = tuple[Mm, Mm]
