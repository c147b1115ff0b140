"""`linewatch bridge modbus`: one thread follows the service, one sends commands to it, and the event loop answers PLCs.

None of them waits for another.
"""

import asyncio

from linewatch.plant.follower import Follower
from linewatch.plant.health import LinkHealth
from linewatch.plant.modbus.acknowledge import Acknowledger
from linewatch.plant.modbus.registers import ProcessImage
from linewatch.plant.modbus.server import ModbusServer
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.modbus.values import RegisterValues
from linewatch.plant.process import BridgeProcess
from linewatch.plant.view import BridgeState


def run_bridge(settings: ModbusSettings) -> None:
    """Serve PLCs until SIGTERM or SIGINT.

    Raises WireError when a socket cannot be used or the service speaks another schema version.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: ModbusSettings) -> None:
    process, values = BridgeProcess("modbus", settings), RegisterValues(settings)
    follower = Follower(settings.service, values, values.shown, process.end)

    def image() -> ProcessImage:
        newest = follower.newest.image
        return newest.silenced() if follower.state is BridgeState.SILENT else newest

    acknowledger = Acknowledger(settings, follower, image, process.end) if settings.acknowledge else None
    shown, write = (acknowledger.image, acknowledger.write) if acknowledger else (image, None)
    try:
        async with ModbusServer(settings.listen, shown, write) as server:
            await process.run(
                follower, lambda: f"{server.connections} PLCs connected", lambda: LinkHealth(peers=server.connections)
            )
    finally:
        if acknowledger:
            acknowledger.stop()
