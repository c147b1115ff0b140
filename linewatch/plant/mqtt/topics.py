"""The tables that an automation engineer configures the plant's side by: topics, and Sparkplug's metrics."""

import csv
import io

from linewatch.plant.mqtt.metrics import metrics_csv
from linewatch.plant.mqtt.settings import MqttSettings, PlainSettings
from linewatch.wire.schema import Topic

_EVENTS = {
    Topic.DEFECT: "a step in the life of a defect",
    Topic.ALARM: "a transition of an alarm",
    Topic.COIL: "a coil has started or ended; the newest stays",
    Topic.ROLL_MARK: "a step in the life of a row of roll marks",
    Topic.FRAME: "how one frame of strip was inspected",
}


def topics_csv(settings: MqttSettings) -> str:
    """Return the table of topics and, with Sparkplug, that of metrics behind an empty line."""
    tables = []
    if settings.plain is not None:
        tables.append(_plain(settings.plain, commands=settings.commands is not None))
    if settings.sparkplug is not None:
        tables.append(metrics_csv())
    return "\n".join(tables)


def _plain(settings: PlainSettings, *, commands: bool) -> str:
    rows = [
        (
            "bridge",
            1,
            "yes",
            "BridgeBody",
            "whether the bridge is connected (also its will), and what it dropped",
        ),
        ("state", 0, "for 5 s", "StateBody", "the line in brief, a few times a second"),
        ("status", 0, "for 5 s", "StatusMessage", "the service's own status in full, once a second"),
        ("alarms/ID", 1, "yes", "AlarmBody", "an alarm that stands, is suppressed or shelved; empty: it is over"),
        *(
            (
                topic.value,
                1,
                "yes" if topic is Topic.COIL else "no",
                f"{topic.title().replace('_', '')}Message",
                meaning,
            )
            for topic, meaning in _EVENTS.items()
            if topic in settings.topics
        ),
        ("lost", 1, "no", "LostBody", "messages that were lost or dropped"),
    ]
    if commands:
        rows.append(("command", 1, "refused", "AlarmCommandBody, CoilStartBody, CoilEndBody or CoilDataCommandBody",
                     "from the plant: a command"))  # fmt: skip
        rows.append(("reply", 1, "no", "ReplyBody", "the answer, unless the command names a response topic (MQTT 5)"))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("topic", "QoS", "retained", "body", "meaning"))
    table.writerows((f"{settings.prefix}/{topic}", *rest) for topic, *rest in rows)
    return out.getvalue()
