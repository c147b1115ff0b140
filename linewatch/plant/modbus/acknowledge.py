"""Acknowledging by coils: which writes of a PLC are requests."""

import time
from collections.abc import Callable, Sequence
from threading import Lock

from linewatch.plant.commands import CommandSender, PlantClient
from linewatch.plant.follower import Follower
from linewatch.plant.modbus.registers import COILS, ProcessImage
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.modbus.values import ShownValues
from linewatch.plant.plc.acknowledge import BitAcknowledger


class Acknowledger:
    """The Modbus server calls `write` and `image`, which never wait."""

    def __init__(
        self,
        settings: ModbusSettings,
        follower: Follower[ShownValues],
        image: Callable[[], ProcessImage],
        ended: Callable[[], object],
    ) -> None:
        """`image` makes the registers without coils. `ended` is called when the commands' thread fails."""
        if settings.acknowledge is None:
            raise ValueError("acknowledging needs [acknowledge]")
        self._steady_s = settings.acknowledge.steady_s
        self._image = image
        self._sender = CommandSender(settings.acknowledge, settings.service.client_keys, ended)
        self._bits = BitAcknowledger(
            settings.alarm_bits, self._steady_s, lambda: follower.newest.alarms, lambda: follower.state, self._sender
        )
        self._lock = Lock()
        self._written_s = [float("-inf")] * COILS  # when 1 was written last, unless 0 was written since

    def stop(self) -> None:
        """Stop sending commands; raise what the commands' thread failed with."""
        self._sender.stop()

    def image(self) -> ProcessImage:
        """Return the registers and coils now."""
        return self._image().acknowledging(*self._bits.now)

    def write(self, first: int, values: Sequence[bool], peer: str) -> None:
        """Take what the PLC at address `peer` wrote to the coils from `first` on.

        A 1 asks for one acknowledgement. Repeated within `steady_s`, as by a scanner that writes its outputs in each
        cycle, or while the coil still reads 1, it is the same request. A 0 asks for nothing and cancels nothing.
        """
        now_s = time.monotonic()
        with self._lock:
            for coil, value in enumerate(values, first):
                rises = value and now_s - self._written_s[coil] > self._steady_s
                self._written_s[coil] = now_s if value else float("-inf")
                if rises:
                    self._bits.ask(coil, PlantClient(f"modbus {peer}"))
