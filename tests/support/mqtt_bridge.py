"""`linewatch bridge mqtt` in its process, and what a plant makes of its messages."""

import json
from pathlib import Path

from bridge_and_plc import Bridge
from broker import Broker, Heard, PlantClient

from linewatch.plant.mqtt.metrics import BD_SEQ, DEVICE_METRICS, FIRST_ALIAS
from linewatch.plant.mqtt.payload import ReadPayload, decode_payload

PREFIX = "mill/line1"
DEVICE = "spBv1.0/mill/{}/linewatch/line1"
NODE = "spBv1.0/mill/{}/linewatch"
SPARKPLUG = '[sparkplug]\ngroup = "mill"\n'


def config_for(folder: Path, service, broker: Broker, more: str = SPARKPLUG, plain: str = "", store: str = "") -> Path:
    """A bridge's configuration for a small service."""
    path = folder / "mqtt.toml"
    path.write_text(
        f'[service]\npublish = "{service.publish}"\nserve = "{service.serve}"\n[broker]\nurl = "{broker.url}"\n'
        f'[store]\nfile = "{folder}/mqtt.sqlite"\n{store}\n[plain]\nprefix = "{PREFIX}"\n{plain}\n{more}\n'
    )
    return path


class MqttBridge(Bridge):
    """A bridge that is connected with every face."""

    def __init__(self, config: Path, faces: tuple[str, ...] = ("plain", "spb")) -> None:
        super().__init__("mqtt", config)
        for face in faces:
            self.wait_for("broker_connected", face=face)
        self.wait_for("synchronised")


def first_sequences(heard: list[Heard]) -> list[tuple[int, int]]:
    """Return epoch and sequence of messages in the order in which each came first; QoS 1 may repeat them."""
    return list(
        dict.fromkeys((body["epoch"], body["sequence"]) for body in map(json.loads, (h.payload for h in heard)))
    )


def payloads(plant: PlantClient, topic: str) -> list[ReadPayload]:
    return [decode_payload(one.payload) for one in plant.of(topic)]


def aliases_of(plant: PlantClient) -> dict[int, str]:
    """Return the names of metrics by alias, from the newest births, as a host learns them."""
    births = payloads(plant, NODE.format("NBIRTH"))[-1:] + payloads(plant, DEVICE.format("DBIRTH"))[-1:]
    return {one.alias: one.name for birth in births for one in birth.metrics if one.alias is not None}


def sparkplug_values(plant: PlantClient, name: str) -> list[tuple[object, bool]]:
    """Return value and is_historical of each DDATA that has this metric, in order."""
    alias = FIRST_ALIAS["device"] + [metric.name for metric in DEVICE_METRICS].index(name)
    found = (one for read in payloads(plant, DEVICE.format("DDATA")) for one in read.metrics)
    return [(one.value, one.historical) for one in found if one.alias == alias]


def bd_seq(payload: ReadPayload) -> object:
    return next(one.value for one in payload.metrics if one.name == BD_SEQ)
