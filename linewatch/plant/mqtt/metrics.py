"""The metrics of the Sparkplug face: name, alias, datatype and where their values come from.

An alias is a metric's place in `NODE_METRICS` or `DEVICE_METRICS`. The order is part of what a host has stored: add
metrics at the end of their list only.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from linewatch.contracts.verdict import Quality
from linewatch.plant.keeper import LOST
from linewatch.plant.mqtt.payload import DataType, Value
from linewatch.plant.mqtt.view import Shown
from linewatch.plant.view import BridgeState
from linewatch.wire.schema import Topic

BD_SEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
COMMAND: Final = "Device Control/Command"
ANSWER: Final = "Device Control/Answer"
FIRST_ALIAS: Final = {"node": 1, "device": 1_001}

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BridgeCounts:
    """What the bridge could not deliver yet, or ever."""

    waiting: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. topic: it changes with the events of this topic; None: with the state of the line."""

    name: str
    datatype: DataType
    meaning: str
    read: Callable[..., Value | None]
    unit: str = ""
    topic: str | None = None


I64, F64, BOOL, TEXT = DataType.INT64, DataType.DOUBLE, DataType.BOOLEAN, DataType.STRING


def _node(name: str, meaning: str, read: Callable[[BridgeCounts], Value]) -> Metric:
    return Metric(f"Bridge/{name}", I64, meaning, read)


def _line(
    name: str, datatype: DataType, meaning: str, read: Callable[[Shown, BridgeState], Value | None], unit: str = ""
) -> Metric:
    return Metric(name, datatype, meaning, read, unit)


def _field(name: str) -> Callable[[Body], Value | None]:
    return lambda body: body.get(name)


def _end(name: str, at: int) -> Callable[[Body], Value | None]:
    return lambda body: body[name][at]


def _nothing(_body: Body) -> None:
    """Stand for values that the face has by itself."""


def _length(of: Quality) -> Callable[[Shown, BridgeState], Value]:
    return lambda shown, _state: shown.coil.length_mm[of]


_COMMANDS: Final = "command"  # no topic of the wire: these change with the commands of a host
_Field = tuple[str, DataType, str, Callable[[Body], Value | None], str]  # name, type, meaning, value, unit


def _event(topic: str, group: str, *fields: _Field) -> list[Metric]:
    return [Metric(f"{group}/{name}", kind, meaning, read, unit, topic) for name, kind, meaning, read, unit in fields]


NODE_METRICS: Final = (
    _node("Waiting", "events that are stored and not delivered yet", lambda counts: counts.waiting),
    _node("Dropped", "events that were dropped to keep the store's bound, ever", lambda counts: counts.dropped),
)

DEVICE_METRICS: Final = (
    _line("Service/State", TEXT, "state of the service: running, silent, starting, draining, failed, unhealthy, "
          "catching_up", lambda _shown, state: state.name.lower()),
    _line("Service/Inspecting", BOOL, "true: passing strip is looked at now",
          lambda shown, state: shown.quality(state) in (Quality.INSPECTED, Quality.DEGRADED)),
    _line("Service/Quality", TEXT, "how passing strip is inspected: inspected, degraded, missed; null: nobody looks",
          lambda shown, state: shown.quality(state)),
    _line("Service/Heartbeat", I64, "counts while the service is healthy and followed",
          lambda shown, _state: shown.heartbeat),
    _line("Coil/Id", TEXT, "the coil under the camera, or the newest", lambda shown, _state: shown.coil.id),
    _line("Coil/State", TEXT, "started or ended; null: none yet", lambda shown, _state: shown.coil.state),
    _line("Coil/Along", F64, "end of the decided strip, from the head of the coil",
          lambda shown, _state: shown.coil.along_mm, "mm"),
    _line("Coil/Coverage", F64, "inspected share of the area of the coil so far, 0 to 1",
          lambda shown, _state: shown.coil.coverage),
    *(_line(f"Coil/{one.value.title()}", F64, f"length of the coil so far whose lines were {one.value}",
            _length(one), "mm") for one in Quality),
    _line("Alarms/Standing", I64, "alarms that ask for an operator",
          lambda shown, _state: shown.status.alarms_standing if shown.status else None),
    _line("Alarms/Unacknowledged", I64, "standing alarms that nobody has acknowledged",
          lambda shown, _state: shown.status.alarms_unacknowledged if shown.status else None),
    *_event(
        Topic.DEFECT, "Defect",
        ("Id", TEXT, "id of the newest defect that opened, grew or closed", _field("id"), ""),
        ("State", TEXT, "opened, updated or closed", _field("state"), ""),
        ("Class", TEXT, "its class", _field("defect_class"), ""),
        ("Tentative", BOOL, "true: not probable enough to be called", _field("tentative"), ""),
        ("Probability", F64, "how probably it is a true defect, 0 to 1", _field("probability"), ""),
        ("Severity", I64, "its severity by the grading rules; null: none", _field("severity"), ""),
        ("Coil", TEXT, "its coil", _field("coil"), ""),
        ("Along Begin", F64, "its begin, from the head of the coil", _end("along_mm", 0), "mm"),
        ("Along End", F64, "its end as known so far", _end("along_mm", 1), "mm"),
        ("Across Begin", F64, "its begin across, from the mill's datum", _end("across_mm", 0), "mm"),
        ("Across End", F64, "its end across", _end("across_mm", 1), "mm"),
        ("Area", F64, "its area as known so far", _field("area_mm2"), "mm2"),
    ),
    *_event(
        Topic.ALARM, "Alarm",
        ("Id", TEXT, "id of the alarm that changed last", _field("id"), ""),
        ("Rule", TEXT, "its rule", _field("rule"), ""),
        ("State", TEXT, "raised: it asks for an operator; cleared", _field("state"), ""),
        ("Change", TEXT, "what changed: active, inactive, acknowledged, shelved, unshelved, suppressed, unsuppressed",
         _field("change"), ""),
        ("Priority", TEXT, "low, medium, high or urgent", _field("priority"), ""),
        ("Acknowledged", BOOL, "an operator has acknowledged it", _field("acked_state"), ""),
        ("Coil", TEXT, "its coil", _field("coil"), ""),
        ("Along", F64, "where on the coil it was raised", _field("along_mm"), "mm"),
        ("Text", TEXT, "what happened", _field("text"), ""),
    ),
    *_event(
        Topic.COIL, "Coil Result",
        ("Coil", TEXT, "the coil that started or ended last", _field("coil"), ""),
        ("State", TEXT, "started or ended; the figures are final with ended", _field("state"), ""),
        ("Length", F64, "length that passed", _field("along_mm"), "mm"),
        ("Inspected", F64, "length whose lines were inspected", _field("inspected_mm"), "mm"),
        ("Degraded", F64, "length whose lines were partly inspected", _field("degraded_mm"), "mm"),
        ("Missed", F64, "length whose lines were missed", _field("missed_mm"), "mm"),
        ("Defects", I64, "number of its defects", lambda body: sum(body["defects_by_class"].values()), ""),
        ("Grade", TEXT, "its grade; null: not ended, or no grading rules",
         lambda body: body["grade"]["grade"] if body.get("grade") else None, ""),
    ),
    *_event(
        Topic.ROLL_MARK, "Roll Mark",
        ("Id", TEXT, "id of the row of marks that changed last", _field("id"), ""),
        ("State", TEXT, "recognised, updated or ended", _field("state"), ""),
        ("Class", TEXT, "class of its marks", _field("defect_class"), ""),
        ("Pitch", F64, "distance from mark to mark", _field("pitch_mm"), "mm"),
        ("Marks", I64, "marks found", _field("marks"), ""),
        ("Roll", TEXT, "the likeliest roll; null: no configured one fits",
         lambda body: body["suspects"][0]["roll"] if body["suspects"] else None, ""),
    ),
    *_event(
        LOST, "Lost",
        ("Topic", TEXT, "messages that the bridge could not get: their topic", _field("topic"), ""),
        ("Messages", I64, "how many; null: not known", _field("messages"), ""),
        ("Reason", TEXT, "why", _field("reason"), ""),
    ),
    Metric(COMMAND, TEXT, "by DCMD: a command in JSON, as on PREFIX/command; always null", _nothing, topic=_COMMANDS),
    Metric(ANSWER, TEXT, "the answer to the newest command in JSON, as on PREFIX/reply", _nothing, topic=_COMMANDS),
)  # fmt: skip

EVENT_TOPICS: Final = frozenset(one.topic for one in DEVICE_METRICS if one.topic is not None and one.topic != _COMMANDS)


def aliases(owner: str, metrics: tuple[Metric, ...]) -> dict[str, int]:
    """Return the alias of each metric by its name; unique in the whole node."""
    return {metric.name: FIRST_ALIAS[owner] + at for at, metric in enumerate(metrics)}


def metrics_csv() -> str:
    """Return the table of all metrics."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("of", "alias", "name", "datatype", "unit", "changes with", "meaning"))
    table.writerow(("node", "", BD_SEQ, "Int64", "", "each connection", "number of the connection"))
    table.writerow(("node", "", REBIRTH, "Boolean", "", "", "true by NCMD: the births are sent again"))
    for owner, metrics in (("node", NODE_METRICS), ("device", DEVICE_METRICS)):
        for metric, alias in zip(metrics, aliases(owner, metrics).values(), strict=True):
            kind = metric.datatype.name.title().replace("_", "")
            table.writerow((owner, alias, metric.name, kind, metric.unit, metric.topic or "state", metric.meaning))
    return out.getvalue()
