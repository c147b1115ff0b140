"""Alarms as conditions of OPC 10000-9: events with a ConditionId, and the methods by which operators handle them.

Each alarm of the wire is a condition of the type StripAlarmType, named after its rule; so is a rule that is shelved.
Conditions are not in the address space: a client knows them by events, and calls the methods with the ConditionId.
An alarm of linewatch is handled in one step, so that its condition has no ConfirmedState and no Confirm.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua

from linewatch.contracts.access import Role
from linewatch.contracts.alarm import Priority, ShelvingState
from linewatch.plant.opcua.commands import CALLER, OpcuaCommands
from linewatch.plant.opcua.events import PlantEvent, make_event
from linewatch.plant.opcua.model import Model
from linewatch.wire.schema import AlarmBody, AlarmMessage, CommandMark

SEVERITIES: Final = {Priority.LOW: 200, Priority.MEDIUM: 400, Priority.HIGH: 700, Priority.URGENT: 900}
MAX_SHELVE_MINUTES: Final = 10_080.0
_PREFIX: Final = "Alarm/"
_EVENTS_KNOWN = 16  # of one alarm, that an acknowledgement may name
_GOOD = ua.StatusCodes
_SHELVED: Final = {
    ShelvingState.UNSHELVED: ("Unshelved", ua.ObjectIds.ShelvedStateMachineType_Unshelved),
    ShelvingState.TIMED_SHELVED: ("Timed Shelved", ua.ObjectIds.ShelvedStateMachineType_TimedShelved),
    ShelvingState.ONE_SHOT_SHELVED: ("One Shot Shelved", ua.ObjectIds.ShelvedStateMachineType_OneShotShelved),
}

Method = Callable[[ua.NodeId, Sequence[ua.Variant]], Awaitable[ua.StatusCode]]


@dataclass(slots=True)
class _Condition:
    alarm: AlarmBody
    severity: int
    command: CommandMark | None = None  # the newest: later events of the condition name it too (10000-9, 5.5.2)
    event_ids: deque[bytes] = field(default_factory=lambda: deque(maxlen=_EVENTS_KNOWN))


class Conditions:
    """The alarms that are retained. All calls belong to the event loop."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[str, _Condition] = {}
        self._commands: OpcuaCommands | None = None

    def methods(self, commands: OpcuaCommands) -> Mapping[ua.NodeId, Method]:
        """Return what answers the methods of conditions, by the method's id in its type."""
        self._commands = commands
        ids = ua.ObjectIds
        table = (
            ((ids.AcknowledgeableConditionType_Acknowledge,), self._acknowledge),
            ((ids.ShelvedStateMachineType_TimedShelve, ids.AlarmConditionType_ShelvingState_TimedShelve), self._timed),
            (
                (ids.ShelvedStateMachineType_OneShotShelve, ids.AlarmConditionType_ShelvingState_OneShotShelve),
                self._one_shot,
            ),
            ((ids.ShelvedStateMachineType_Unshelve, ids.AlarmConditionType_ShelvingState_Unshelve), self._unshelve),
            (
                (
                    ids.AcknowledgeableConditionType_Confirm,
                    ids.ConditionType_Enable,
                    ids.ConditionType_Disable,
                    ids.ConditionType_AddComment,
                ),
                _not_supported,
            ),
        )
        return {ua.NodeId(number): _by_operators(call) for numbers, call in table for number in numbers}

    def unacknowledged(self) -> list[str]:
        """Return the ids of alarms that are active and not acknowledged."""
        return [id_ for id_, one in self._known.items() if one.alarm.active_state and not one.alarm.acked_state]

    async def take(self, alarm: AlarmBody) -> None:
        """Follow a transition of an alarm: tell it by an event."""
        condition = self._known.get(alarm.id)
        severity = SEVERITIES[alarm.priority]
        last = condition.severity if condition else severity
        if condition is None:
            condition = self._known[alarm.id] = _Condition(alarm, severity)
        condition.alarm, condition.severity = alarm, severity
        condition.command = alarm.command or condition.command
        if not alarm.retain:
            del self._known[alarm.id]
        event = self._event(condition, last)
        condition.event_ids.append(event.fields["EventId"].Value)
        await self._model.server.iserver.subscription_service.trigger_event(event)

    async def replace(self, alarms: Sequence[AlarmBody]) -> None:
        """Follow a snapshot: tell what is new or different, and that alarms are over which are not in it."""
        now = {alarm.id: alarm for alarm in alarms}
        for id_, condition in list(self._known.items()):
            if id_ not in now:
                over = {"active_state": False, "retain": False}
                await self.take(condition.alarm.model_copy(update=over))
        for alarm in now.values():
            known = self._known.get(alarm.id)
            if known is None or _state(known.alarm) != _state(alarm):
                await self.take(alarm)

    def _event(self, condition: _Condition, last_severity: int) -> PlantEvent:
        alarm = condition.alarm
        at = _published(alarm)
        fields = dict(_fields(alarm, condition.command, last_severity, at or datetime.now(UTC)))
        fields["NodeId"] = ua.Variant(self._model.at(_PREFIX + alarm.id), ua.VariantType.NodeId)
        return make_event(self._model.kind(self._model.alarm_type), alarm.text, SEVERITIES[alarm.priority], fields, at)

    def _of(self, object_: ua.NodeId) -> _Condition | None:
        name = object_.Identifier
        if object_.NamespaceIndex != self._model.own or not isinstance(name, str) or not name.startswith(_PREFIX):
            return None
        return self._known.get(name.removeprefix(_PREFIX))

    async def _acknowledge(self, object_: ua.NodeId, arguments: Sequence[ua.Variant]) -> ua.StatusCode:
        condition = self._of(object_)
        if condition is None:
            return ua.StatusCode(_GOOD.BadNodeIdUnknown)
        if not arguments or arguments[0].Value not in condition.event_ids:
            return ua.StatusCode(_GOOD.BadEventIdUnknown)
        if condition.alarm.acked_state:
            return ua.StatusCode(_GOOD.BadConditionBranchAlreadyAcked)
        return await self._send(lambda commands: commands.acknowledge(condition.alarm.id))

    async def _timed(self, object_: ua.NodeId, arguments: Sequence[ua.Variant]) -> ua.StatusCode:
        condition, asked_ms = self._of(object_), arguments[0].Value if arguments else None
        if condition is None:
            return ua.StatusCode(_GOOD.BadNodeIdUnknown)
        if not isinstance(asked_ms, int | float) or not 0 < asked_ms <= MAX_SHELVE_MINUTES * 60_000:
            return ua.StatusCode(_GOOD.BadShelvingTimeOutOfRange)
        return await self._send(lambda commands: commands.shelve(condition.alarm.rule, asked_ms / 60_000))

    async def _one_shot(self, object_: ua.NodeId, _arguments: Sequence[ua.Variant]) -> ua.StatusCode:
        condition = self._of(object_)
        if condition is None:
            return ua.StatusCode(_GOOD.BadNodeIdUnknown)
        return await self._send(lambda commands: commands.shelve(condition.alarm.rule, None))

    async def _unshelve(self, object_: ua.NodeId, _arguments: Sequence[ua.Variant]) -> ua.StatusCode:
        condition = self._of(object_)
        if condition is None:
            return ua.StatusCode(_GOOD.BadNodeIdUnknown)
        if condition.alarm.shelving_state is ShelvingState.UNSHELVED:
            return ua.StatusCode(_GOOD.BadConditionNotShelved)
        return await self._send(lambda commands: commands.unshelve(condition.alarm.rule))

    async def _send(self, send: Callable[[OpcuaCommands], Awaitable[ua.StatusCode]]) -> ua.StatusCode:
        assert self._commands is not None  # its methods are known only with them
        return await send(self._commands)


def _by_operators(call: Method) -> Method:
    """Refuse callers who are no operators before they learn anything about the condition."""

    async def checked(object_: ua.NodeId, arguments: Sequence[ua.Variant]) -> ua.StatusCode:
        if not CALLER.get().role.covers(Role.OPERATOR):
            return ua.StatusCode(_GOOD.BadUserAccessDenied)
        return await call(object_, arguments)

    return checked


def _fields(
    alarm: AlarmBody, command: CommandMark | None, last_severity: int, at: datetime
) -> Iterator[tuple[str, ua.Variant]]:
    """Yield the fields of the types from ConditionType to StripAlarmType."""
    held_back = alarm.suppressed_state or alarm.shelving_state is not ShelvingState.UNSHELVED
    shelved, shelved_node = _SHELVED[alarm.shelving_state]
    yield "ConditionClassId", ua.Variant(ua.NodeId(ua.ObjectIds.ProcessConditionClassType), ua.VariantType.NodeId)
    yield "ConditionClassName", _text("ProcessConditionClassType")
    yield "ConditionName", ua.Variant(alarm.rule, ua.VariantType.String)
    yield "BranchId", ua.Variant(ua.NodeId(), ua.VariantType.NodeId)
    yield "Retain", _boolean(alarm.retain)
    yield from _two_states("EnabledState", True, "Enabled", "Disabled")
    yield "Quality", ua.Variant(ua.StatusCode(), ua.VariantType.StatusCode)
    yield "LastSeverity", ua.Variant(last_severity, ua.VariantType.UInt16)
    yield "Comment", _text(command.comment if command else "")
    yield "ClientUserId", ua.Variant((command.said_by or command.by) if command else "", ua.VariantType.String)
    for name in ("Quality", "LastSeverity", "Comment"):
        yield f"{name}/SourceTimestamp", ua.Variant(at, ua.VariantType.DateTime)
    yield from _two_states("AckedState", alarm.acked_state, "Acknowledged", "Unacknowledged")
    yield from _two_states("ActiveState", alarm.active_state, "Active", "Inactive")
    yield from _two_states("SuppressedState", alarm.suppressed_state, "Suppressed", "Unsuppressed")
    yield from _two_states("LatchedState", alarm.latched and alarm.active_state, "Latched", "Unlatched")
    yield "InputNode", ua.Variant(ua.NodeId(), ua.VariantType.NodeId)
    yield "SuppressedOrShelved", _boolean(held_back)
    yield "FirstInGroupFlag", _boolean(alarm.first_in_group)
    yield "MaxTimeShelved", ua.Variant(MAX_SHELVE_MINUTES * 60_000, ua.VariantType.Double)
    yield "ShelvingState/CurrentState", _text(shelved)
    yield "ShelvingState/CurrentState/Id", ua.Variant(ua.NodeId(shelved_node), ua.VariantType.NodeId)
    yield "ShelvingState/UnshelveTime", ua.Variant(_left_ms(alarm, at), ua.VariantType.Double)
    yield "Rule", ua.Variant(alarm.rule, ua.VariantType.String)
    yield "Coil", ua.Variant(alarm.coil, ua.VariantType.String)
    yield "AlongMm", ua.Variant(alarm.along_mm, ua.VariantType.Double)
    yield "DefectIds", ua.Variant(list(alarm.defect_ids), ua.VariantType.String, is_array=True)


def _two_states(name: str, value: bool, true: str, false: str) -> Iterator[tuple[str, ua.Variant]]:
    yield name, _text(true if value else false)
    yield f"{name}/Id", _boolean(value)


def _left_ms(alarm: AlarmBody, at: datetime) -> float:
    until_ns = alarm.shelved_until_unix_ns
    return max(0.0, until_ns / 1e6 - at.timestamp() * 1_000) if until_ns else 0.0


def _state(alarm: AlarmBody) -> tuple[Any, ...]:
    return (
        alarm.active_state,
        alarm.acked_state,
        alarm.shelving_state,
        alarm.shelved_until_unix_ns,
        alarm.suppressed_state,
        alarm.priority,
    )


def _published(alarm: AlarmBody) -> datetime | None:
    at_ns = alarm.timing.published_unix_ns if isinstance(alarm, AlarmMessage) else 0
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_ns // 1_000) if at_ns else None


def _text(text: str) -> ua.Variant:
    return ua.Variant(ua.LocalizedText(text), ua.VariantType.LocalizedText)


def _boolean(value: bool) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.Boolean)


async def _not_supported(_object: ua.NodeId, _arguments: Sequence[ua.Variant]) -> ua.StatusCode:
    return ua.StatusCode(_GOOD.BadNotSupported)
