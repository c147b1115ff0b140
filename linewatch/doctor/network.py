"""The network on which a GigE camera's packets come: MTU, receive ring, socket buffers, losses so far."""

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from linewatch.capture.genicam.connection import ENOUGH_SOCKET_BUFFER, SOCKET_BUFFER
from linewatch.capture.genicam.discovery import ipv4_interfaces
from linewatch.doctor.finding import HostFinding, fault, fine, note, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.processor import text

_JUMBO = 8000
_SIOCETHTOOL, _GET_RING = 0x8946, 0x10  # of <linux/sockios.h> and <linux/ethtool.h>
_GVCP_PORT = 3956


@dataclass(frozen=True, slots=True)
class NicFacts:
    """An interface. receive_ring: packets that it holds for the kernel, and how many it could; None: not told."""

    name: str
    address: str
    mtu: int
    receive_ring: tuple[int, int] | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """camera_nic: towards the camera; "": not known. buffer_bytes: the largest socket buffer that the kernel gives.

    overflowed: packets of UDP that came while a socket's buffer was full, since boot.
    """

    nics: tuple[NicFacts, ...]
    camera_nic: str
    buffer_bytes: int
    overflowed: int = 0


def look_at_network(camera: str | None, root: Path = Path("/")) -> NetworkFacts:
    """Return the facts. camera: as configured; its interface is known where that is an address."""
    nics, towards = [], _address_towards(camera)
    for one in ipv4_interfaces():
        counts = root / "sys/class/net" / one.name / "statistics"
        lost = sum(int(text(counts / name) or 0) for name in ("rx_dropped", "rx_missed_errors", "rx_fifo_errors"))
        nics.append(NicFacts(one.name, one.address, one.mtu or 0, _receive_ring(one.name), lost))
    udp = [line.split() for line in text(root / "proc/net/snmp").splitlines() if line.startswith("Udp:")]
    counts_by_name = dict(zip(udp[0], udp[1], strict=False)) if len(udp) == 2 else {}
    return NetworkFacts(
        tuple(nics),
        next((nic.name for nic in nics if nic.address == towards), ""),
        int(text(root / "proc/sys/net/core/rmem_max") or 0),
        int(counts_by_name.get("RcvbufErrors", 0)),
    )


def judge_network(facts: NetworkFacts, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge the network for a GenICam camera; for other sources, nothing depends on it."""
    if (source := needs.genicam) is None:
        if needs.config is None:
            yield fine(
                "network", f"net.core.rmem_max = {facts.buffer_bytes}; judged with a GenICam camera's configuration"
            )
        return
    if facts.buffer_bytes < ENOUGH_SOCKET_BUFFER:
        yield warning(
            "socket buffer",
            f"net.core.rmem_max = {facts.buffer_bytes}, expected {ENOUGH_SOCKET_BUFFER} or more",
            "packets are lost while the host is busy for a moment: lines are missed (truncated)",
            f"echo net.core.rmem_max={SOCKET_BUFFER} | sudo tee /etc/sysctl.d/90-linewatch.conf; sudo sysctl --system",
        )
    else:
        yield fine("socket buffer", f"net.core.rmem_max = {facts.buffer_bytes}")
    if facts.overflowed:
        yield note(
            "lost packets",
            f"{facts.overflowed} packets found a socket's buffer full since the host started (of any program)",
            "where they were the camera's, lines were missed (truncated)",
            "look whether it grows while the strip runs: nstat -az UdpRcvbufErrors; then see socket buffer and cores",
        )
    nics = [nic for nic in facts.nics if nic.name == facts.camera_nic]
    for nic in nics or [nic for nic in facts.nics if nic.name != "lo"]:
        yield from _judge_nic(nic, source.packet_size, "" if nics else ", perhaps the camera's")


def _judge_nic(nic: NicFacts, packet_size: int | None, which: str) -> Iterator[HostFinding]:
    subject = f"interface {nic.name}"
    wanted = packet_size or 9000
    if packet_size is not None and packet_size > nic.mtu and not which:
        yield fault(
            subject,
            f"MTU {nic.mtu}, [source] packet_size = {packet_size}",
            "packets do not pass: no line of the camera arrives",
            f"sudo ip link set dev {nic.name} mtu {wanted}",
        )
    elif nic.mtu < _JUMBO and packet_size is None and nic.name != "lo":
        yield note(
            subject,
            f"MTU {nic.mtu}{which}",
            "without jumbo frames the host takes six times as many packets of the same camera",
            f"where camera and switches allow it: sudo ip link set dev {nic.name} mtu {wanted}",
        )
    else:
        yield fine(subject, f"MTU {nic.mtu}{which}")
    if nic.receive_ring is not None and nic.receive_ring[0] < nic.receive_ring[1]:
        now, most = nic.receive_ring
        yield note(
            subject,
            f"its receive ring holds {now} packets, and could hold {most}",
            "packets are lost where the kernel takes them late: lines are missed (truncated)",
            f"sudo ethtool -G {nic.name} rx {most}",
        )
    if nic.lost:
        yield note(
            subject,
            f"{nic.lost} received packets were dropped since the host started",
            "where they were the camera's, lines were missed (truncated)",
            f"look whether it grows while the strip runs: ip -s link show dev {nic.name}; then a larger receive ring",
        )


def _address_towards(camera: str | None) -> str:
    """Return this host's address on the way to the camera; "" where it is not named by its address. Sends nothing."""
    with suppress(OSError, ValueError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((str(ipaddress.IPv4Address(camera or "")), _GVCP_PORT))
        return str(asked.getsockname()[0])
    return ""


def _receive_ring(name: str) -> tuple[int, int] | None:
    """Ask the driver for the length of the receive ring now, and the longest that it allows (ethtool -g)."""
    rings = array.array("I", [_GET_RING, *[0] * 8])  # struct ethtool_ringparam: most of rx, mini, jumbo, tx, then now
    request = struct.pack("16sP8x", name.encode()[:15], rings.buffer_info()[0])
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, _SIOCETHTOOL, request)
        return (rings[5], rings[1]) if rings[1] else None
    return None
