"""The lines of a verdict file."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from linewatch.wire.schema.alarm import AlarmBody
from linewatch.wire.schema.base import Message, TimingBody
from linewatch.wire.schema.coil import CoilBody
from linewatch.wire.schema.defect import DefectBody
from linewatch.wire.schema.frame import FrameBody
from linewatch.wire.schema.roll_mark import RollMarkBody


class DefectLine(DefectBody):
    """A defect in a verdict file, with the runs of its mask."""

    runs: tuple[int, ...] = Field(description="the mask's runs: line, start_px, stop_px, line, start_px, ...")


class VerdictLine(FrameBody):
    """One frame in a verdict file."""

    kind: Literal["verdict"] = "verdict"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class CoilLine(CoilBody):
    """The start or the end of a coil in a verdict file."""

    kind: Literal["coil"] = "coil"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class AlarmsLine(Message):
    """Transitions of alarms that no frame caused, in a verdict file: by a command, or by the state of the host."""

    kind: Literal["alarms"] = "alarms"
    defects: tuple[DefectLine, ...] = Field(default=(), description="always empty; every line has this field")
    alarms: tuple[AlarmBody, ...]
    timing: TimingBody


Line = VerdictLine | CoilLine | AlarmsLine
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
