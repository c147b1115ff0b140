"""`linewatch bridge mqtt`: one thread follows the service and fills the store, which each face empties."""

import asyncio

from linewatch.plant.commands import CommandSender
from linewatch.plant.follower import Follower
from linewatch.plant.health import LinkHealth
from linewatch.plant.keeper import EventKeeper
from linewatch.plant.mqtt.commands import CommandDesk
from linewatch.plant.mqtt.face import Face
from linewatch.plant.mqtt.metrics import EVENT_TOPICS
from linewatch.plant.mqtt.plain import PlainFace
from linewatch.plant.mqtt.settings import MqttSettings
from linewatch.plant.mqtt.sparkplug import SparkplugFace
from linewatch.plant.mqtt.view import MqttView
from linewatch.plant.process import BridgeProcess
from linewatch.plant.store import EventStore
from linewatch.wire.schema import KEPT_TOPICS, Topic


def run_bridge(settings: MqttSettings) -> None:
    """Publish until SIGTERM or SIGINT.

    Raises ConfigError for an unusable store, and WireError when the service speaks another schema version.
    """
    asyncio.run(_publish(settings))


async def _publish(settings: MqttSettings) -> None:
    process, view, faces = BridgeProcess("mqtt", settings), MqttView(), list[Face]()
    with EventStore(settings.store, settings.faces) as store:

        def stored() -> None:
            for face in faces:
                face.wake()

        keeper = EventKeeper(store, kept_topics(settings), stored)
        follower = Follower(settings.service, view, view.shown, process.end, keeper=keeper)
        sender, commands = None, settings.commands
        if commands is not None:
            sender = CommandSender(commands, settings.service.client_keys, process.end)
        desk = CommandDesk(commands, sender) if commands is not None and sender is not None else None
        if settings.plain is not None:
            faces.append(PlainFace(settings.plain, settings.broker, store, follower, desk))
        if settings.sparkplug is not None:
            faces.append(SparkplugFace(settings.sparkplug, settings.broker, store, follower, desk))

        dropped_before = sum(map(store.dropped, settings.faces))

        def connections() -> str:
            told = (f"{face.name} {'connected' if face.connected else 'NOT CONNECTED'}" for face in faces)
            return f"{', '.join(told)}, {max(map(store.waiting, settings.faces))} events waiting"

        def health() -> LinkHealth:
            return LinkHealth(
                "; ".join(f"{face.name}: {face.trouble}" for face in faces if face.trouble),
                sum(face.connected for face in faces),
                max(map(store.waiting, settings.faces)),
                sum(map(store.dropped, settings.faces)) - dropped_before,
            )

        try:
            for face in faces:
                face.start()
            await process.run(follower, connections, health, lambda: min(face.turned_s for face in faces))
        finally:
            for face in faces:
                face.end()
            for face in faces:
                face.join()
            if sender is not None:
                sender.stop()


def kept_topics(settings: MqttSettings) -> frozenset[Topic]:
    """Return the topics of the wire whose messages the bridge keeps until they are delivered."""
    plain = settings.plain.topics if settings.plain else ()
    sparkplug = (topic for topic in KEPT_TOPICS if topic in EVENT_TOPICS) if settings.sparkplug else ()
    return frozenset({*plain, *sparkplug})
