"""`linewatch bridge`: shows a service to controllers in a protocol of the plant."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from linewatch.config.load import load
from linewatch.contracts.errors import ConfigError
from linewatch.files import write_output
from linewatch.logs import configure_logs
from linewatch.plant.registry import BRIDGES
from linewatch.terminal import extra


def bridge(
    protocol: Annotated[str, Parameter(help=f"One of: {', '.join(BRIDGES)}.")],
    config: Path | None = None,
    /,
    *,
    check: Annotated[
        bool, Parameter(help="Check the file alone and end; `linewatch check` also tries what it names.")
    ] = False,
    addresses: Annotated[
        Path | None,
        Parameter(
            name="--map",
            allow_leading_hyphen=True,
            help="Write what the plant's side is programmed by to this file and end; - prints it. Modbus: a .csv of "
            "registers; MQTT: a .csv of topics; S7: the source of the data blocks.",
        ),
    ] = None,
) -> None:
    if protocol not in BRIDGES:
        raise ConfigError(f"bridge {protocol}: expected one of {', '.join(BRIDGES)}")
    kind = BRIDGES[protocol]
    try:
        settings = kind.settings() if config is None else load(config, kind.settings)
    except ValidationError as error:  # the defaults alone are not enough
        raise ConfigError(_without_config(protocol)) from error
    if addresses is not None:
        if kind.address_map is None:
            raise ConfigError(f"bridge {protocol}: this protocol has no map of addresses; leave --map out")
        table = kind.address_map(settings)
        if str(addresses) == "-":
            print(table, end="")
        else:
            write_output(addresses, table.encode())
    elif check:
        print(f"{config or 'the defaults'}: good")
    elif config is None:
        raise ConfigError(_without_config(protocol))
    else:
        with extra("plant"):
            configure_logs(settings.log.level)
            kind.run(settings)


def _without_config(protocol: str) -> str:
    return f"bridge {protocol}: expected a configuration, for example configs/plant/{protocol}.toml"
