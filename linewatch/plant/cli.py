"""`linewatch bridge`: what a service says, in a protocol of the plant."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from linewatch.config.load import load
from linewatch.config.modbus import ModbusSettings
from linewatch.contracts.errors import ConfigError
from linewatch.logs import configure_logs
from linewatch.terminal import extra


def bridge(
    protocol: Literal["modbus"],
    config: Path | None = None,
    /,
    *,
    check: Annotated[bool, Parameter(help="Check the configuration and end.")] = False,
    registers: Annotated[
        Path | None,
        Parameter(
            name="--map",
            allow_leading_hyphen=True,
            help="Write the map of registers to this .csv file and end; - prints it.",
        ),
    ] = None,
) -> None:
    settings = ModbusSettings() if config is None else load(config, ModbusSettings)
    if registers is not None:
        from linewatch.plant.modbus.registers import map_csv

        if str(registers) == "-":
            print(map_csv(settings), end="")
        else:
            registers.write_text(map_csv(settings))
    elif check:
        print(f"{config or 'the defaults'}: good")
    elif config is None:
        raise ConfigError(f"bridge {protocol}: expected a configuration, for example configs/plant/modbus.toml")
    else:
        with extra("plant"):
            from linewatch.plant.modbus.bridge import run_bridge

            configure_logs(settings.log.level)
            run_bridge(settings)
