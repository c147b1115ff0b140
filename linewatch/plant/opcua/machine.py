"""The state machine of the vision system (OPC 40100-1, clause 8), and its methods.

linewatch runs by itself: all transitions but those between Ready and ContinuousExecution are automatic, and a client
can neither stop nor start the inspection, only say where a coil begins and ends. The methods that would need more are
answered by Bad_NotSupported.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

from linewatch.contracts.coil import checked_coil_name
from linewatch.contracts.verdict import CoilState
from linewatch.plant.opcua.commands import OpcuaCommands
from linewatch.plant.opcua.events import make_event
from linewatch.plant.opcua.model import JOB_STARTED_EVENT, STATE_CHANGED_EVENT, SYSTEM, Model
from linewatch.plant.view import BridgeState

MACHINE: Final = f"{SYSTEM}.VisionStateMachine"
AUTOMATIC: Final = f"{MACHINE}.AutomaticModeStateMachine"
PRODUCTION, STAND_BY, UNSCHEDULED_DOWNTIME, NO_STATE = 1, 2, 5, 6  # SystemStateDataType, clause 12.21

_STATES: Final = {
    BridgeState.SILENT: "Preoperational",
    BridgeState.STARTING: "Preoperational",
    BridgeState.CATCHING_UP: "Preoperational",
    BridgeState.RUNNING: "Operational",
    BridgeState.DRAINING: "Halted",
    BridgeState.FAILED: "Error",
    BridgeState.UNHEALTHY: "Error",
}
_SYSTEM_STATES: Final = {"Preoperational": NO_STATE, "Halted": NO_STATE, "Error": UNSCHEDULED_DOWNTIME}
_NODES: Final = {  # ids of the state objects in the companion specification's types
    "Preoperational": 5028,
    "Halted": 5029,
    "Error": 5030,
    "Operational": 5031,
    "Ready": 5057,
    "ContinuousExecution": 5059,
}
_TRANSITIONS: Final = {
    ("Preoperational", "Halted"): 5033,
    ("Preoperational", "Error"): 5034,
    ("Preoperational", "Operational"): 5254,
    ("Halted", "Preoperational"): 5038,
    ("Error", "Preoperational"): 5040,
    ("Error", "Halted"): 5042,
    ("Error", "Operational"): 5255,
    ("Operational", "Preoperational"): 5048,
    ("Operational", "Halted"): 5050,
    ("Operational", "Error"): 5051,
}
_SEVERITIES: Final = {"Error": 700, "Preoperational": 500, "Halted": 500}


@dataclass(frozen=True, slots=True)
class MachineState:
    """state: of the vision state machine. mode_state: of the automatic mode; empty where that is not active."""

    state: str
    mode_state: str = ""


def machine_state(state: BridgeState, coil: CoilState | None) -> MachineState:
    """Return the state of the state machine for a service in this state whose newest coil is in that one."""
    name = _STATES[state]
    if name != "Operational":
        return MachineState(name)
    return MachineState(name, "ContinuousExecution" if coil is CoilState.STARTED else "Ready")


class Machine:
    """Shows the state, tells changes by StateChanged events, and answers the methods."""

    def __init__(self, model: Model, commands: OpcuaCommands, coil: Callable[[], tuple[str, str]]) -> None:
        """`coil` returns the id of the coil under the camera, empty for none, and the id of its job."""
        self._model = model
        self._commands = commands
        self._coil = coil
        self._shown: MachineState | None = None
        self._aborted = ""

    @property
    def aborted_coil(self) -> str:
        """The coil that a client ended by Abort; empty for none."""
        return self._aborted

    async def link(self) -> None:
        """Answer the methods."""
        for owner, name, call in (
            (AUTOMATIC, "StartContinuous", self._start),
            (AUTOMATIC, "Stop", self._stop),
            (AUTOMATIC, "Abort", self._abort),
            (AUTOMATIC, "StartSingleJob", _not_supported),
            (MACHINE, "SelectModeAutomatic", self._select_automatic),
            (MACHINE, "ConfirmAll", self._confirm_all),
            (MACHINE, "Reset", _not_supported),
            (MACHINE, "Halt", _not_supported),
        ):
            await self._model.link(owner, name, call)

    async def show(self, state: BridgeState, coil: CoilState | None) -> None:
        """Show the state of the service."""
        now, before = machine_state(state, coil), self._shown
        if now == before:
            return
        self._shown = now
        await self._write(MACHINE, now.state)
        await self._write(AUTOMATIC, now.mode_state)
        await self._write_system(now)
        if before is not None and before.state != now.state:
            await self._tell(before.state, now.state)

    async def tell_job_started(self, job: str, coil: str) -> None:
        """Tell that a coil has started."""
        fields = {"JobId": ua.Variant(ua.JobIdDataType(Id=job), ua.VariantType.ExtensionObject)}
        event = make_event(self._model.kind(JOB_STARTED_EVENT), f"coil {coil} has started", 1, fields)
        await self._model.server.iserver.subscription_service.trigger_event(event)

    async def _write(self, machine: str, state: str) -> None:
        write = self._model.server.iserver.write_attribute_value
        if state:
            values = (
                ua.DataValue(ua.Variant(ua.LocalizedText(state), ua.VariantType.LocalizedText)),
                ua.DataValue(self._state_node(state)),
            )
        else:
            inactive = ua.StatusCode(ua.StatusCodes.BadStateNotActive)  # clause 8.1
            values = ua.DataValue(StatusCode=inactive), ua.DataValue(StatusCode=inactive)
        await write(self._model.at(f"{machine}.CurrentState"), values[0])
        await write(self._model.at(f"{machine}.CurrentState.Id"), values[1])

    async def _write_system(self, now: MachineState) -> None:
        number = _SYSTEM_STATES.get(now.state)
        if number is None:
            number = PRODUCTION if now.mode_state == "ContinuousExecution" else STAND_BY
        value = ua.SystemStateDescriptionDataType(
            State=ua.SystemStateDataType(number), StateDescription=now.mode_state or now.state
        )
        await self._model.server.iserver.write_attribute_value(
            self._model.at(f"{SYSTEM}.SystemState"), ua.DataValue(ua.Variant(value, ua.VariantType.ExtensionObject))
        )

    async def _tell(self, before: str, now: str) -> None:
        text, transition = ua.VariantType.LocalizedText, _TRANSITIONS.get((before, now))
        fields = {
            "FromState": ua.Variant(ua.LocalizedText(before), text),
            "FromState/Id": self._state_node(before),
            "ToState": ua.Variant(ua.LocalizedText(now), text),
            "ToState/Id": self._state_node(now),
        }
        if transition is not None:
            fields["Transition"] = ua.Variant(ua.LocalizedText(f"{before}To{now}Auto"), text)
            fields["Transition/Id"] = self._node_value(transition)
        event = make_event(self._model.kind(STATE_CHANGED_EVENT), f"{before} to {now}", _SEVERITIES.get(now, 1), fields)
        await self._model.server.iserver.subscription_service.trigger_event(event)

    def _state_node(self, state: str) -> ua.Variant:
        return self._node_value(_NODES[state])

    def _node_value(self, number: int) -> ua.Variant:
        return ua.Variant(ua.NodeId(number, self._model.vision), ua.VariantType.NodeId)

    async def _start(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        """StartContinuous: a coil begins under the camera. PartId is its name; the answer is its job."""
        part = str(getattr(arguments[1].Value, "Id", None) or "") if len(arguments) == 5 else ""
        try:
            coil = checked_coil_name(part)
        except ValueError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        if self._shown is None or self._shown.state != "Operational":
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        before = self._coil()[1]
        status = await self._commands.start_coil(coil)
        if not status.is_good():
            return status
        job = await self._job_of(coil, before)
        return [
            ua.Variant(ua.JobIdDataType(Id=job), ua.VariantType.ExtensionObject),
            ua.Variant(0, ua.VariantType.Int32),
        ]

    async def _job_of(self, coil: str, before: str) -> str:
        """Return the job of the coil that was started, as soon as strip of it has come; empty when none comes."""
        for _ in range(40):
            now, job = self._coil()
            if now == coil and job != before:
                return job
            await asyncio.sleep(0.05)
        return ""

    async def _stop(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> Any:
        """Stop: the coil under the camera ends."""
        return _answer(await self._commands.end_coil(self._coil()[0] or None))

    async def _abort(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> Any:
        """Abort: as Stop, and the coil's result says so."""
        coil = self._coil()[0]
        self._aborted = coil  # before the coil's end can arrive
        status = await self._commands.end_coil(coil or None)
        if not status.is_good():
            self._aborted = ""
        return _answer(status)

    async def _select_automatic(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> Any:
        """SelectModeAutomatic: linewatch knows no other mode."""
        operational = self._shown is not None and self._shown.state == "Operational"
        return _answer(ua.StatusCode(ua.StatusCodes.Good if operational else ua.StatusCodes.BadInvalidState))

    async def _confirm_all(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> Any:
        status = await self._commands.acknowledge_all()
        return status if not status.is_good() else []


def _answer(status: ua.StatusCode) -> Any:
    return [ua.Variant(0, ua.VariantType.Int32)] if status.is_good() else status


async def _not_supported(_parent: ua.NodeId, *_arguments: ua.Variant) -> ua.StatusCode:
    return ua.StatusCode(ua.StatusCodes.BadNotSupported)
