"""Every kind of bridge that `linewatch bridge KIND CONFIG` can run: one line each."""

from collections.abc import Mapping

from linewatch.plant.kind import BridgeKind
from linewatch.plant.modbus import MODBUS
from linewatch.plant.mqtt import MQTT
from linewatch.plant.opcua import OPCUA
from linewatch.plant.s7 import S7

BRIDGES: Mapping[str, BridgeKind] = {
    "modbus": MODBUS,
    "mqtt": MQTT,
    "opcua": OPCUA,
    "s7": S7,
}
