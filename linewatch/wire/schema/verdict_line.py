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
    """A defect in a verdict file: its mask's runs stand in the line itself."""

    runs: tuple[int, ...] = Field(description="line, start_px, stop_px, line, start_px, ...")


class VerdictLine(FrameBody):
    """One frame in a verdict file."""

    kind: Literal["verdict"] = "verdict"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class CoilLine(CoilBody):
    """The beginning or the end of a coil in a verdict file."""

    kind: Literal["coil"] = "coil"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class AlarmsLine(Message):
    """Alarms' transitions that no frame brought, in a verdict file: a command's, or of what the host tells."""

    kind: Literal["alarms"] = "alarms"
    defects: tuple[DefectLine, ...] = Field(default=(), description="none, ever: every line has them")
    alarms: tuple[AlarmBody, ...]
    timing: TimingBody


Line = VerdictLine | CoilLine | AlarmsLine
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
