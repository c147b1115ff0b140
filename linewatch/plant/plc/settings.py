"""The settings that bridges to PLCs share."""

from typing import Annotated

from pydantic import AfterValidator, Field

from linewatch.plant.plc.codes import ALARM_BITS, CLASS_WITHOUT_CODE, NO_CLASS
from linewatch.plant.settings import BridgeSettings, CommandSettings


def _one_use(names: dict[str, int]) -> dict[str, int]:
    owners: dict[int, str] = {}
    for name, number in names.items():
        if owners.setdefault(number, name) != name:
            raise ValueError(f"{owners[number]!r} and {name!r} both have {number}; give each its own")
    return names


Bit = Annotated[int, Field(ge=0, lt=ALARM_BITS)]
Code = Annotated[int, Field(gt=NO_CLASS, lt=CLASS_WITHOUT_CODE)]


class AcknowledgeSettings(CommandSettings):
    """`[acknowledge]`: lets PLCs acknowledge alarms. Without this section they cannot."""

    steady_s: float = Field(
        default=1.0,
        ge=0.1,
        le=60,
        description="acknowledge only alarms that have been shown for so long; set it longer than the PLC "
        "takes from its read to its write",
    )
    give_up_s: float = Field(
        default=10.0, ge=1, le=300, description="after so long without an answer of the service, the result is 3"
    )


class PlcSettings(BridgeSettings):
    """Base of the configuration of a bridge to PLCs."""

    alarm_bits: Annotated[dict[str, Bit], AfterValidator(_one_use)] = Field(
        default={}, description="bit of the alarms, by the name of an alarm rule"
    )
    class_codes: Annotated[dict[str, Code], AfterValidator(_one_use)] = Field(
        default={}, description="code that a PLC reads, by defect class"
    )
