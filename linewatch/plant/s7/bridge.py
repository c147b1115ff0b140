"""`linewatch bridge s7`: one thread follows the service, one sends commands to it, and one talks to the PLC.

None of them waits for another.
"""

import asyncio
from dataclasses import dataclass

from linewatch.plant.commands import CommandSender, PlantClient
from linewatch.plant.follower import Follower
from linewatch.plant.plc.acknowledge import BitAcknowledger
from linewatch.plant.plc.codes import StripQuality
from linewatch.plant.plc.values import PlcView, Value
from linewatch.plant.process import BridgeProcess
from linewatch.plant.s7.commands import PlcCommands
from linewatch.plant.s7.layout import COUNTER_MASK, LAYOUT_VERSION
from linewatch.plant.s7.link import PlcLink
from linewatch.plant.s7.settings import S7Settings
from linewatch.plant.view import BridgeState, StandingAlarm


@dataclass(frozen=True, slots=True)
class ShownBlock:
    """The values of the status block, and the alarms behind them."""

    values: dict[str, Value]
    alarms: tuple[StandingAlarm, ...]


def run_bridge(settings: S7Settings) -> None:
    """Serve the PLC until SIGTERM or SIGINT.

    Raises WireError when a socket cannot be used or the service speaks another schema version.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: S7Settings) -> None:
    process, view = BridgeProcess("s7", settings), PlcView(settings)

    def read() -> ShownBlock:
        values = view.values()
        heartbeat = values["heartbeat"]
        assert isinstance(heartbeat, int)
        more: dict[str, Value] = {"heartbeat": heartbeat & COUNTER_MASK, "layout_version": LAYOUT_VERSION}
        return ShownBlock(values | more, view.alarms)

    follower = Follower(settings.service, view, read, process.end)

    def shown() -> dict[str, Value]:
        values = follower.newest.values
        if follower.state is not BridgeState.SILENT:
            return dict(values)
        return values | {"state": BridgeState.SILENT, "quality": StripQuality.NOT_LOOKED_AT}

    sender = commands = None
    if settings.commands is not None:
        sender = CommandSender(settings.commands, settings.service.client_keys, process.end)
        acknowledger = BitAcknowledger(
            settings.alarm_bits,
            settings.commands.steady_s,
            lambda: follower.newest.alarms,
            lambda: follower.state,
            sender,
        )
        commands = PlcCommands(acknowledger, sender, PlantClient(f"s7 {settings.plc.address}"))
    link = PlcLink(settings, shown, commands, process.end)
    link.start()
    try:
        await process.run(
            follower, lambda: link.health.trouble or "PLC served", lambda: link.health, lambda: link.turned_s
        )
    finally:
        link.stop()
        if sender is not None:
            sender.stop()
