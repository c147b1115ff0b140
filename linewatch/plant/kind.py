"""What a kind of bridge consists of; `linewatch.plant.registry` lists the kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from linewatch.plant.settings import BridgeSettings


@dataclass(frozen=True, slots=True)
class BridgeKind:
    """One protocol. `configs/plant/KIND.toml` is its example configuration.

    settings: the model of its configuration file, a subclass of `BridgeSettings`.
    run: runs the bridge until SIGTERM or SIGINT. Imports what its protocol needs when it is called, because that may
        not be installed. Raises WireError when a socket cannot be used.
    address_map: what the plant's side is programmed by, with the names of these settings: a CSV of addresses or topics,
        or the source of data blocks. None: the protocol tells clients itself.
    """

    settings: type[BridgeSettings]
    run: Callable[[Any], None]
    address_map: Callable[[Any], str] | None = None
