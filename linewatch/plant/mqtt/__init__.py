"""MQTT, for modern plants: the service as plain JSON topics and as a Sparkplug B edge node, and commands by a topic."""

from linewatch.plant.kind import BridgeKind
from linewatch.plant.mqtt.settings import MqttSettings


def _run(settings: MqttSettings) -> None:
    from linewatch.plant.mqtt.bridge import run_bridge  # imports paho-mqtt, which the extra `plant` installs

    run_bridge(settings)


def _map(settings: MqttSettings) -> str:
    from linewatch.plant.mqtt.topics import topics_csv

    return topics_csv(settings)


MQTT = BridgeKind(MqttSettings, _run, _map)
