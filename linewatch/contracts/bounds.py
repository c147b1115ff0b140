"""Bounded numbers that several contracts and the wire share. pydantic checks the bounds where a value comes in."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(ge=0, le=1)]
Severity = Annotated[int, Field(ge=1, le=5, description="1: hardly visible; 5: must never be delivered")]
IntervalMm = tuple[float, float]
