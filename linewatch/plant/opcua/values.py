"""The variables that clients read: health of the service, the coil, the newest defects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua

from linewatch.contracts.verdict import CoilState, DefectState, Quality
from linewatch.plant.defects import NumberedDefect
from linewatch.plant.opcua.model import SYSTEM, Model, add_group
from linewatch.plant.opcua.view import ClientValues
from linewatch.plant.view import BridgeState, quality_now
from linewatch.wire.schema import StatusMessage

_BOOLEAN, _STRING, _DOUBLE = ua.VariantType.Boolean, ua.VariantType.String, ua.VariantType.Double
_UINT32, _UINT64, _INT32 = ua.VariantType.UInt32, ua.VariantType.UInt64, ua.VariantType.Int32
_LAST_KNOWN: Final = ua.StatusCodes.UncertainNoCommunicationLastUsableValue


@dataclass(frozen=True, slots=True)
class ShownVariable:
    """A variable. after_silence: it keeps its meaning while the service is silent."""

    name: str
    kind: ua.VariantType
    about: str
    after_silence: bool = False


HEALTH: Final = (
    ShownVariable(
        "State", _INT32, "0 silent, 1 starting, 2 running, 3 draining, 4 failed, 5 unhealthy, 6 catching up", True
    ),
    ShownVariable("StateText", _STRING, "the same as a word", True),
    ShownVariable("Inspecting", _BOOLEAN, "true: passing strip is inspected or screened now", True),
    ShownVariable("Heartbeat", _UINT32, "counts while the service is healthy and followed", True),
    ShownVariable("Quality", _STRING, "inspected, degraded or missed; empty: not inspected", True),
    ShownVariable("Failure", _STRING, "the first failure; empty: none"),
    ShownVariable("Coverage", _DOUBLE, "inspected share of the area since the service started, 0 to 1; -1: not known"),
    ShownVariable("FramesPerSecond", _DOUBLE, ""),
    ShownVariable("Frames", _UINT64, "frames decided since the service started"),
    ShownVariable("DefectsOpened", _UINT64, "since the service started"),
    ShownVariable("AlarmsStanding", _UINT32, ""),
    ShownVariable("AlarmsUnacknowledged", _UINT32, ""),
    ShownVariable("CameraState", _STRING, "open, absent or lost; empty: not known"),
    ShownVariable("JournalState", _STRING, "kept, late or lost; empty: a replay"),
    ShownVariable("Engines", _STRING, "identities of the engines in use, one a line"),
    ShownVariable("MessagesLost", _UINT32, "messages that this bridge could not get, since it started", True),
)
COIL: Final = (
    ShownVariable("Id", _STRING, "the coil under the camera, or the last one; empty: none yet"),
    ShownVariable("State", _STRING, "started, ended; empty: none yet"),
    ShownVariable("AlongMm", _DOUBLE, "where the decided strip ends"),
    ShownVariable("InspectedMm", _DOUBLE, ""),
    ShownVariable("DegradedMm", _DOUBLE, "screened only"),
    ShownVariable("MissedMm", _DOUBLE, "not looked at"),
    ShownVariable("Coverage", _DOUBLE, "inspected share of the area, 0 to 1"),
    ShownVariable("Recipe", _STRING, "empty: the default settings"),
)
DEFECT: Final = (
    ShownVariable("Number", _UINT32, "counts defects since the bridge started; 0: the slot is empty"),
    ShownVariable("Id", _STRING, ""),
    ShownVariable("Class", _STRING, ""),
    ShownVariable("State", _STRING, "open, closed or merged"),
    ShownVariable("Coil", _STRING, ""),
    ShownVariable("Side", _STRING, ""),
    ShownVariable("AlongBeginMm", _DOUBLE, "from the coil's head"),
    ShownVariable("AlongEndMm", _DOUBLE, ""),
    ShownVariable("AcrossBeginMm", _DOUBLE, "from the mill's datum"),
    ShownVariable("AcrossEndMm", _DOUBLE, ""),
    ShownVariable("AreaMm2", _DOUBLE, ""),
    ShownVariable("Confidence", _DOUBLE, "of the class, 0 to 1"),
    ShownVariable("Probability", _DOUBLE, "that it is a true defect, 0 to 1"),
    ShownVariable("Severity", _INT32, "by the grading rules; 0: not graded"),
)
_EMPTY: Final = {
    _BOOLEAN: False,
    _STRING: "",
    _DOUBLE: 0.0,
    _UINT32: 0,
    _UINT64: 0,
    _INT32: 0,
}


class Values:
    """Writes what has changed; a client's subscription then gets it."""

    def __init__(self, model: Model, slots: int) -> None:
        self._model = model
        self._slots = slots
        self._kinds: dict[str, ShownVariable] = {}
        self._written: dict[str, Any] = {}
        self._defects: tuple[NumberedDefect, ...] = ()
        self._silent: bool | None = None

    async def add(self) -> None:
        """Add the variables to the address space."""
        system = self._model.node(SYSTEM)
        groups = [("Health", HEALTH), ("Coil", COIL)]
        for name, variables in groups:
            await self._add(system, name, variables)
        newest = await system.add_object(
            self._model.at("NewestDefects"), ua.QualifiedName("NewestDefects", self._model.own)
        )
        for slot in range(1, self._slots + 1):
            await self._add(newest, f"NewestDefects.Defect{slot}", DEFECT)

    async def show(self, shown: ClientValues, state: BridgeState) -> None:
        """Write the values that differ from those written before. state: the service's, also while it is silent."""
        silent = state is BridgeState.SILENT
        wanted = dict(_named("Health", _health(shown, state))) | dict(_named("Coil", _coil(shown)))
        if silent != self._silent:  # every value changes its quality
            self._written, self._silent = {}, silent
            self._defects = ()
        if shown.defects is not self._defects:
            self._defects = shown.defects
            for slot, one in enumerate(shown.defects, 1):
                wanted |= dict(_named(f"NewestDefects.Defect{slot}", _defect(one)))
        at = datetime.now(UTC)
        for name, value in wanted.items():
            if name in self._written and self._written[name] == value:
                continue
            self._written[name] = value
            variable = self._kinds[name]
            quality = ua.StatusCode(_LAST_KNOWN if silent and not variable.after_silence else ua.StatusCodes.Good)
            written = ua.DataValue(ua.Variant(value, variable.kind), quality, at, ServerTimestamp=at)
            await self._model.server.iserver.write_attribute_value(self._model.at(name), written)

    async def _add(self, parent: Any, group: str, variables: tuple[ShownVariable, ...]) -> None:
        await add_group(self._model, parent, group, ((one.name, _EMPTY[one.kind], one.kind) for one in variables))
        self._kinds |= {f"{group}.{one.name}": one for one in variables}


def _named(group: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{group}.{name}", value


def _health(shown: ClientValues, state: BridgeState) -> dict[str, Any]:
    status = shown.status
    quality = quality_now(status, state)
    values = {
        "State": int(state),
        "StateText": state.name.lower().replace("_", " "),
        "Inspecting": quality in (Quality.INSPECTED, Quality.DEGRADED),
        "Heartbeat": shown.heartbeat,
        "Quality": "" if quality is None else quality.value,
        "MessagesLost": shown.messages_lost,
    }
    return values if status is None else values | _of_status(status)


def _of_status(status: StatusMessage) -> dict[str, Any]:
    return {
        "Failure": status.failure or "",
        "Coverage": -1.0 if status.coverage is None else status.coverage,
        "FramesPerSecond": round(status.frames_per_s, 1),
        "Frames": status.frames,
        "DefectsOpened": status.defects,
        "AlarmsStanding": status.alarms_standing,
        "AlarmsUnacknowledged": status.alarms_unacknowledged,
        "CameraState": status.camera_status.state.value if status.camera_status else "",
        "JournalState": status.journal.state.value if status.journal else "",
        "Engines": "\n".join(engine.identity for engine in status.engines),
    }


def _coil(shown: ClientValues) -> dict[str, Any]:
    coil = shown.coil
    return {
        "Id": coil.id,
        "State": "" if coil.state is None else CoilState(coil.state).value,
        "AlongMm": coil.along_mm,
        "InspectedMm": coil.length_mm[Quality.INSPECTED],
        "DegradedMm": coil.length_mm[Quality.DEGRADED],
        "MissedMm": coil.length_mm[Quality.MISSED],
        "Coverage": coil.coverage,
        "Recipe": shown.recipe or "",
    }


def _defect(shown: NumberedDefect) -> dict[str, Any]:
    defect = shown.defect
    closed = "merged" if defect.merged_into else "closed"
    return {
        "Number": shown.number & 0xFFFF_FFFF,
        "Id": defect.id,
        "Class": defect.defect_class,
        "State": closed if defect.state is DefectState.CLOSED else "open",
        "Coil": defect.coil,
        "Side": defect.side,
        "AlongBeginMm": defect.along_mm[0],
        "AlongEndMm": defect.along_mm[1],
        "AcrossBeginMm": defect.across_mm[0],
        "AcrossEndMm": defect.across_mm[1],
        "AreaMm2": defect.area_mm2,
        "Confidence": defect.confidence,
        "Probability": defect.probability,
        "Severity": defect.severity or 0,
    }
