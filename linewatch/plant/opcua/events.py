"""Events as OPC UA clients receive them (OPC 10000-3, 4.7), and the filters by which clients choose them."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.server.monitored_item_service import WhereClauseEvaluator

MAX_FIELDS, MAX_ELEMENTS, MAX_OPERANDS, MAX_PATH = 200, 32, 64, 8

_silent = logging.getLogger("asyncua")


@dataclass(frozen=True, slots=True)
class EventKind:
    """A type of event. node: its ObjectType. emitter, emitter_name: the object that emits it."""

    node: ua.NodeId
    emitter: ua.NodeId
    emitter_name: str


@dataclass(slots=True)
class PlantEvent:
    """One event with its fields, by browse path without namespaces: `Message`, `ActiveState/Id`.

    A condition has the field `NodeId`, its ConditionId, and `Retain`.
    """

    EventType: ua.NodeId  # these two are asked for by asyncua
    emitting_node: ua.NodeId
    fields: Mapping[str, ua.Variant] = field(default_factory=dict)

    @property
    def NodeId(self) -> Any:
        """The ConditionId; None for an event of no condition."""
        return self._value("NodeId")

    @property
    def Retain(self) -> bool:
        """Whether a refresh of conditions repeats this event."""
        return bool(self._value("Retain"))

    def to_event_fields(self, clauses: list[ua.SimpleAttributeOperand]) -> list[ua.Variant]:
        """Return the selected fields; null for those that this event lacks."""
        return [self.fields.get(_key(clause), _NULL) for clause in clauses]

    def _value(self, key: str) -> Any:
        found = self.fields.get(key)
        return None if found is None else found.Value


_NULL = ua.Variant(None)


def make_event(
    kind: EventKind, message: str, severity: int, more: Mapping[str, ua.Variant], at: datetime | None = None
) -> PlantEvent:
    """Return an event with an id of its own. at: when it happened; None: now. Times are UTC."""
    now = datetime.now(UTC)
    fields = {
        "EventId": ua.Variant(secrets.token_bytes(16), ua.VariantType.ByteString),
        "EventType": ua.Variant(kind.node, ua.VariantType.NodeId),
        "SourceNode": ua.Variant(kind.emitter, ua.VariantType.NodeId),
        "SourceName": ua.Variant(kind.emitter_name, ua.VariantType.String),
        "Time": ua.Variant(at or now, ua.VariantType.DateTime),
        "ReceiveTime": ua.Variant(now, ua.VariantType.DateTime),
        "Message": ua.Variant(ua.LocalizedText(message), ua.VariantType.LocalizedText),
        "Severity": ua.Variant(severity, ua.VariantType.UInt16),
    }
    return PlantEvent(kind.node, kind.emitter, fields | dict(more))


class EventFilter(WhereClauseEvaluator):
    """A client's filter of events, checked when it is set: it cannot loop, and it is no larger than a screen needs."""

    def __init__(self, asked: Any, space: AddressSpace) -> None:
        """Raises ValueError for a filter that is refused."""
        if not isinstance(asked, ua.EventFilter):
            raise ValueError("events need an EventFilter")
        if len(asked.SelectClauses) > MAX_FIELDS or len(asked.WhereClause.Elements) > MAX_ELEMENTS:
            raise ValueError("the filter is too large")
        for clause in asked.SelectClauses:
            if not isinstance(clause, ua.SimpleAttributeOperand) or len(clause.BrowsePath) > MAX_PATH:
                raise ValueError("a field that cannot be selected")
        for number, element in enumerate(asked.WhereClause.Elements):
            if len(element.FilterOperands) > MAX_OPERANDS:
                raise ValueError("the filter is too large")
            for operand in element.FilterOperands:
                if isinstance(operand, ua.ElementOperand) and not number < operand.Index < MAX_ELEMENTS:
                    raise ValueError("an element refers to itself or to one before it")
        super().__init__(_silent, space, asked.WhereClause)

    def _eval_el(self, index: int, event: Any) -> Any:
        element = self.elements[index]
        if element.FilterOperator == ua.FilterOperator.OfType:
            return self._is_of_type(event.EventType, self._eval_op(element.FilterOperands[0], event))
        return super()._eval_el(index, event)

    def _eval_op(self, op: Any, event: Any) -> Any:
        if isinstance(op, ua.SimpleAttributeOperand) and op.BrowsePath:
            if isinstance(event, PlantEvent):
                return event.fields.get(_key(op), _NULL).Value
            name = op.BrowsePath[0].Name  # an event of asyncua's own, such as RefreshStartEventType
            return getattr(event, name) if name in event.data_types else None
        return super()._eval_op(op, event)

    def _is_of_type(self, node: ua.NodeId | None, wanted: Any) -> bool:
        while node is not None:
            if node == wanted:
                return True
            data = self._aspace.get(node)
            up = [
                reference.NodeId
                for reference in (data.references if data else ())
                if reference.ReferenceTypeId == _HAS_SUBTYPE and not reference.IsForward
            ]
            node = up[0] if up else None
        return False


_HAS_SUBTYPE = ua.NodeId(ua.ObjectIds.HasSubtype)


def _key(clause: ua.SimpleAttributeOperand) -> str:
    if clause.BrowsePath:
        return "/".join(name.Name or "" for name in clause.BrowsePath)
    return "NodeId" if clause.AttributeId == ua.AttributeIds.NodeId else ""
