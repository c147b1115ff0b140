"""OPC UA after OPC 40100-1 (Machine Vision): state machine, coil results, alarms as conditions, values."""

from linewatch.plant.kind import BridgeKind
from linewatch.plant.opcua.settings import OpcuaSettings


def _run(settings: OpcuaSettings) -> None:
    from linewatch.plant.opcua.bridge import run_bridge  # imports asyncua, which the extra `plant` installs

    run_bridge(settings)


OPCUA = BridgeKind(OpcuaSettings, _run)
