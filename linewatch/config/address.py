"""An IP address in a configuration."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator


def _host_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address; write for example 127.0.0.1 or 192.168.10.5") from None


HostAddress = Annotated[str, AfterValidator(_host_address)]


def is_loopback(address: str) -> bool:
    """Return whether only this host reaches an address."""
    return ipaddress.ip_address(address).is_loopback
