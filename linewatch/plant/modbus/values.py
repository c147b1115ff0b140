"""The values behind the registers."""

from dataclasses import dataclass

from linewatch.plant.modbus.registers import MAP_VERSION, ProcessImage, process_image
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.plc.values import PlcView
from linewatch.plant.view import StandingAlarm


@dataclass(frozen=True, slots=True)
class ShownValues:
    """What PLCs read, and the alarms behind it."""

    image: ProcessImage
    alarms: tuple[StandingAlarm, ...]


class RegisterValues(PlcView):
    """The view of the service as registers."""

    _settings: ModbusSettings

    def shown(self) -> ShownValues:
        """Return the values now; immutable, for other threads."""
        return ShownValues(self.image(), self.alarms)

    def image(self) -> ProcessImage:
        """Return the registers now, without what becomes of writes to coils."""
        values = self.values()
        bits = values["alarm_words"]
        assert isinstance(bits, list)
        return process_image(values | {"map_version": MAP_VERSION}, list(map(bool, bits)), self._settings.word_order)
