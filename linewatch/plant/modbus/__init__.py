"""Modbus TCP, for PLCs: the service as registers, and acknowledging by coils."""

from linewatch.plant.kind import BridgeKind
from linewatch.plant.modbus.registers import map_csv
from linewatch.plant.modbus.settings import ModbusSettings


def _run(settings: ModbusSettings) -> None:
    from linewatch.plant.modbus.bridge import run_bridge  # imports pymodbus, which the extra `plant` installs

    run_bridge(settings)


MODBUS = BridgeKind(ModbusSettings, _run, map_csv)
