"""S7, for Siemens PLCs: the service in a data block, and commands of the PLC from another one."""

from linewatch.plant.kind import BridgeKind
from linewatch.plant.s7.settings import S7Settings
from linewatch.plant.s7.source import block_source


def _run(settings: S7Settings) -> None:
    from linewatch.plant.s7.bridge import run_bridge  # imports python-snap7, which the extra `plant` installs

    run_bridge(settings)


S7 = BridgeKind(S7Settings, _run, block_source)
