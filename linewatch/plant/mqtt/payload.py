"""Payloads of Sparkplug B (Eclipse Sparkplug 3.0, chapter 6): metrics in Protocol Buffers.

The message is described here as far as linewatch uses it: what a reader does not know, Protocol Buffers skips. There is
no generated code, so no version of a compiler has to fit the installed library.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

Value = bool | int | float | str


class DataType(IntEnum):
    """The data types of metrics that linewatch uses, by the specification's codes."""

    INT32 = 3
    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13  # milliseconds since 1970 (UTC)


class PayloadError(Exception):
    """Bytes are no payload of Sparkplug B."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric in a payload. name, alias: at least one is given. value: None is null, of its datatype.

    at_ms: when the value was so, in milliseconds since 1970 (UTC). unit: told as the property `engUnit`.
    """

    name: str | None
    alias: int | None
    datatype: DataType | None
    value: Value | None
    at_ms: int | None = None
    historical: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ReadPayload:
    """What came in a payload. at_ms: when it was sent, or None."""

    at_ms: int | None
    metrics: tuple[MetricValue, ...]


def encode_payload(at_ms: int, seq: int | None, metrics: Iterable[MetricValue]) -> bytes:
    """Return a payload. seq: 0 to 255, or None for NDEATH."""
    payload = _PAYLOAD(timestamp=at_ms)
    if seq is not None:
        payload.seq = seq
    for one in metrics:
        metric = payload.metrics.add(timestamp=at_ms if one.at_ms is None else one.at_ms)
        if one.name is not None:
            metric.name = one.name
        if one.alias is not None:
            metric.alias = one.alias
        if one.datatype is not None:
            metric.datatype = one.datatype
        if one.historical:
            metric.is_historical = True
        if one.unit:
            metric.properties.keys.append("engUnit")
            metric.properties.values.add(type=DataType.STRING, string_value=one.unit)
        if one.value is None:
            metric.is_null = True
        elif one.datatype is not None:
            field, code = _FIELDS[one.datatype]
            setattr(metric, field, code(one.value))
    return bytes(payload.SerializeToString())


def decode_payload(data: bytes) -> ReadPayload:
    """Return what stands in a payload. Raises PayloadError."""
    try:
        payload = _PAYLOAD.FromString(data)
    except DecodeError:
        raise PayloadError("not a payload of Sparkplug B") from None
    found = []
    for metric in payload.metrics:
        field = metric.WhichOneof("value")
        try:
            datatype = DataType(metric.datatype) if metric.HasField("datatype") else None
        except ValueError:
            datatype = None
        value = getattr(metric, field) if field in _READ and not metric.is_null else None
        if datatype in _SIGNED and isinstance(value, int):
            value = value - (1 << _SIGNED[datatype]) if value >> (_SIGNED[datatype] - 1) else value
        found.append(
            MetricValue(
                metric.name if metric.HasField("name") else None,
                metric.alias if metric.HasField("alias") else None,
                datatype,
                value,
                metric.timestamp if metric.HasField("timestamp") else None,
                metric.is_historical,
            )
        )
    return ReadPayload(payload.timestamp if payload.HasField("timestamp") else None, tuple(found))


_SIGNED: Final = {DataType.INT32: 32, DataType.INT64: 64}
_READ: Final = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
_FIELDS: Final[dict[DataType, tuple[str, Any]]] = {  # negative numbers travel as two's complement, as unsigned
    DataType.INT32: ("int_value", lambda value: int(value) & 0xFFFF_FFFF),
    DataType.INT64: ("long_value", lambda value: int(value) & 0xFFFF_FFFF_FFFF_FFFF),
    DataType.DOUBLE: ("double_value", float),
    DataType.BOOLEAN: ("boolean_value", bool),
    DataType.STRING: ("string_value", str),
    DataType.DATE_TIME: ("long_value", int),
}

_KIND: Final = descriptor_pb2.FieldDescriptorProto
_VALUES: Final = (
    ("int_value", _KIND.TYPE_UINT32),
    ("long_value", _KIND.TYPE_UINT64),
    ("float_value", _KIND.TYPE_FLOAT),
    ("double_value", _KIND.TYPE_DOUBLE),
    ("boolean_value", _KIND.TYPE_BOOL),
    ("string_value", _KIND.TYPE_STRING),
)
_Field = tuple[str, int, int | str, bool]  # name, number, type or the name of a message, repeated


def _values(first: int) -> tuple[_Field, ...]:
    return tuple((name, first + at, kind, False) for at, (name, kind) in enumerate(_VALUES))


_MESSAGES: Final[dict[str, tuple[_Field, ...]]] = {
    "PropertyValue": (("type", 1, _KIND.TYPE_UINT32, False), ("is_null", 2, _KIND.TYPE_BOOL, False), *_values(3)),
    "PropertySet": (("keys", 1, _KIND.TYPE_STRING, True), ("values", 2, "PropertyValue", True)),
    "Metric": (
        ("name", 1, _KIND.TYPE_STRING, False),
        ("alias", 2, _KIND.TYPE_UINT64, False),
        ("timestamp", 3, _KIND.TYPE_UINT64, False),
        ("datatype", 4, _KIND.TYPE_UINT32, False),
        ("is_historical", 5, _KIND.TYPE_BOOL, False),
        ("is_transient", 6, _KIND.TYPE_BOOL, False),
        ("is_null", 7, _KIND.TYPE_BOOL, False),
        ("properties", 9, "PropertySet", False),
        *_values(10),
    ),
    "Payload": (
        ("timestamp", 1, _KIND.TYPE_UINT64, False),
        ("metrics", 2, "Metric", True),
        ("seq", 3, _KIND.TYPE_UINT64, False),
    ),
}
_PACKAGE: Final = "linewatch.sparkplug"


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="linewatch/sparkplug.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if any(field.endswith("_value") for field, *_ in fields):
            message.oneof_decl.add(name="value")
        for field, number, kind, repeated in fields:
            added = message.field.add(
                name=field, number=number, label=_KIND.LABEL_REPEATED if repeated else _KIND.LABEL_OPTIONAL
            )
            if isinstance(kind, str):
                added.type, added.type_name = _KIND.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                added.type = kind
            if field.endswith("_value"):
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


_PAYLOAD: Final = _payload_class()
