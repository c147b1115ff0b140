"""Cameras on the network and on USB: which there are, where, and who holds each."""

import fcntl
import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from linewatch.capture.genicam.library import aravis
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.errors import SourceError
from linewatch.socket_owners import udp_process

GVCP_PORT: Final = 3956
GIGE: Final = "GigEVision"
_PATIENCE_S: Final = 0.25
_DISCOVERY_S: Final = 0.5
_DISCOVERY: Final = struct.pack(">BBHHH", 0x42, 0x11, 0x0002, 0, 1)
"""A command that is acknowledged, by broadcast if need be."""
_CONTROL_PRIVILEGE: Final = 0x0A00
"""Registers of GigE Vision 2.0, table 28-1 and following: who has control, and from where."""
_PRIMARY_PORT: Final = 0x0A04
_PRIMARY_ADDRESS: Final = 0x0A14


@dataclass(frozen=True, slots=True)
class Ipv4Interface:
    """An interface of this host that has an address. mtu: None where it is not known."""

    name: str
    address: str
    broadcast: str
    mtu: int | None


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that answered.

    id: the name that a user gave it, or on USB Aravis' name of it. address, mac: "" on USB. holder: who controls it,
    None where it is free or does not tell.
    """

    id: str
    vendor: str
    model: str
    serial: str
    address: str
    mac: str
    protocol: str
    holder: str | None = None

    @property
    def told(self) -> str:
        what = ", ".join(filter(None, (f"{self.vendor} {self.model}".strip(), self.address or self.protocol)))
        return f"camera {self.serial or self.id or self.address} ({what})"


_SEARCH_EVERY_S: Final = 5.0
_LAST_PLACE: dict[str, tuple[str, float]] = {}
"""Where a camera of this serial was opened last, and when the network was searched for it last: a camera that is opened
again is asked there first, since a search takes longer than most cameras are away.
"""


def found_cameras() -> tuple[FoundCamera, ...]:
    """Ask for all cameras; takes half a second.

    Raises ConfigError where Aravis is missing, SourceError where this process may not use the network.

    On the network it is asked here, not by Aravis, which tells one camera of several with the same serial number.
    """
    library = aravis()
    return (*_on_network(), *_on_usb(library))


def _on_network() -> tuple[FoundCamera, ...]:
    """Broadcast GVCP's discovery on every interface, and collect the answers."""
    asked: list[socket.socket] = []
    found: dict[str, FoundCamera] = {}
    try:
        for interface in ipv4_interfaces():
            with suppress(OSError):
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                asked.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                one.bind((interface.address, 0))
                for place in {interface.broadcast, "255.255.255.255"}:
                    with suppress(OSError):
                        one.sendto(_DISCOVERY, (place, GVCP_PORT))
        deadline_s = time.monotonic() + _DISCOVERY_S
        while asked and (left_s := deadline_s - time.monotonic()) > 0:
            for ready in select.select(asked, [], [], left_s)[0]:
                with suppress(OSError, struct.error, UnicodeDecodeError):
                    camera = _discovered(ready.recv(1024))
                    found[camera.address] = camera
    finally:
        for one in asked:
            one.close()
    held = (replace(one, holder=holder_of(one.address)) for one in found.values())
    return tuple(sorted(held, key=lambda one: (one.serial, one.address)))


def _discovered(answer: bytes) -> FoundCamera:
    """Return the camera of an answer. Raises struct.error where it is none."""
    status, command = struct.unpack_from(">HH", answer)
    data = answer[8:]
    if status or command != 0x0003 or len(data) < 0xF8:
        raise struct.error("no answer to a discovery")

    def text(at: int, size: int) -> str:
        return made_printable(data[at : at + size].split(b"\0")[0].decode(errors="replace"))

    return FoundCamera(
        id=text(0xE8, 16),
        vendor=text(0x48, 32),
        model=text(0x68, 32),
        serial=text(0xD8, 16),
        address=socket.inet_ntoa(data[0x24:0x28]),
        mac=data[0x0A:0x10].hex(":"),
        protocol=GIGE,
    )


def _on_usb(library: Any) -> Iterator[FoundCamera]:
    interface = library.UvInterface.get_instance()
    interface.update_device_list()
    for number in range(interface.get_n_devices()):
        yield FoundCamera(
            id=interface.get_device_id(number) or "",
            vendor=interface.get_device_vendor(number) or "",
            model=interface.get_device_model(number) or "",
            serial=interface.get_device_serial_nbr(number) or "",
            address="",
            mac="",
            protocol="USB3Vision",
        )


def find_camera(which: str | None) -> FoundCamera:
    """Return the camera of this serial, address, MAC address or user-defined name; None: the only one there is.

    Raises SourceError where there is none, or several that could be meant.
    """
    if which is not None and _is_address(which) and answers(which):
        return FoundCamera(which, "", "", "", which, "", GIGE)
    away = None
    if which is not None and which in _LAST_PLACE:
        address, searched_s = _LAST_PLACE[which]
        if answers(address):
            return FoundCamera(address, "", "", which, address, "", GIGE)
        away = SourceError(
            f"camera {which} does not answer at {address}, where it was, expected an answer; check power and cable. It "
            f"is searched for every {_SEARCH_EVERY_S:g} s, should it have another address"
        )
        if time.monotonic() - searched_s < _SEARCH_EVERY_S:
            raise away
        _LAST_PLACE[which] = address, time.monotonic()
    cameras = found_cameras()
    fitting = cameras if which is None else [one for one in cameras if _is(one, which)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(one.told for one in (fitting or cameras)) or "none"
    if fitting:
        wanted = "one, or [source] camera that says which" if which is None else f"one with the serial {which}"
        raise SourceError(
            f"found {len(fitting)} cameras ({listed}), expected {wanted}; set [source] camera to an address"
        )
    raise away or SourceError(
        f"no camera {'' if which is None else which + ' '}answers: found {listed}, expected "
        f"{'one' if which is None else which}; check power, cable and firewall (UDP port {GVCP_PORT}), that its "
        "address is of this host's network, and that the service may reach it (IPAddressAllow of its unit)"
    )


def remember(camera: FoundCamera) -> None:
    """Keep where a camera was opened, for the next time that it is asked for by its serial."""
    if camera.protocol == GIGE and camera.serial:
        _LAST_PLACE[camera.serial] = camera.address, time.monotonic()


def forget(serial: str) -> None:
    """Search for a camera the next time: another one is at its address."""
    _LAST_PLACE.pop(serial, None)


def answers(address: str) -> bool:
    """Return whether a GigE Vision camera answers at an address."""
    return _register(address, _CONTROL_PRIVILEGE) is not None


def is_controlled(address: str) -> bool:
    """Return whether a GigE Vision camera answers there, and some program controls it."""
    return bool(_register(address, _CONTROL_PRIVILEGE))


def holder_of(address: str) -> str | None:
    """Say who controls the GigE Vision camera at an address; None where nobody does, or it does not tell.

    The camera knows its controller's address and port, where its firmware keeps these registers; a program of this host
    is told by its name.
    """
    if not is_controlled(address):
        return None
    packed, port = _register(address, _PRIMARY_ADDRESS) or 0, _register(address, _PRIMARY_PORT) or 0
    if not packed:
        return "another program, which the camera does not name"
    holder = str(ipaddress.IPv4Address(packed))
    if (process := _process_at(holder, port)) is not None:
        return f"{process} of this host ({holder}, port {port})"
    name = _host_name(holder)
    return f"{name} ({holder}, port {port})" if name else f"{holder}, port {port}"


def ipv4_interfaces() -> tuple[Ipv4Interface, ...]:
    """Return the interfaces of this host that have an IPv4 address, each with its first.

    Raises SourceError where this process may not use the network.
    """
    found = []
    try:
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise SourceError(
            f"no permission for the network interface: found {error.strerror!r} when a UDP socket was opened, expected "
            "one; allow AF_INET and socket() to the process (RestrictAddressFamilies and SystemCallFilter of its unit, "
            "or the container's profile)"
        ) from error
    with asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError, ValueError):
                request = struct.pack("256s", name.encode()[:15])
                address, broadcast = (
                    socket.inet_ntoa(fcntl.ioctl(asked, number, request)[20:24])
                    for number in (0x8915, 0x8919)  # SIOCGIFADDR, SIOCGIFBRDADDR
                )
                mtu = int(Path(f"/sys/class/net/{name}/mtu").read_text())
                found.append(Ipv4Interface(name, address, broadcast, mtu))
    return tuple(found)


def _is(camera: FoundCamera, which: str) -> bool:
    return which in {camera.serial, camera.address, camera.id, camera.mac}


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _register(address: str, register: int) -> int | None:
    """Read a register by GVCP without taking control; None where nothing answers, or it may not be read."""
    if not _is_address(address):
        return None
    request = struct.pack(">BBHHHI", 0x42, 0x01, 0x0080, 4, 1, register)
    with suppress(OSError, struct.error), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(_PATIENCE_S)
        asked.connect((address, GVCP_PORT))
        for _ in range(2):
            asked.send(request)
            with suppress(TimeoutError):
                status, command, _, _, value = struct.unpack_from(">HHHHI", asked.recv(64))
                return int(value) if status == 0 and command == 0x0081 else None
    return None


def _process_at(address: str, port: int) -> str | None:
    """Name the process of this host that has a UDP socket at an address; None where there is none to be seen."""
    if (process := udp_process(address, port)) is None:
        return None
    with suppress(OSError):
        return f"process {process} ({Path('/proc', str(process), 'comm').read_text().strip()})"
    return None


def _host_name(address: str) -> str | None:
    """Return the name of a host; None where the resolver does not know it, or takes longer than a second."""
    found: list[str] = []

    def ask() -> None:
        with suppress(OSError):
            found.append(socket.gethostbyaddr(address)[0])

    asking = threading.Thread(target=ask, name="host-name", daemon=True)
    asking.start()
    asking.join(1.0)
    return found[0] if found else None
