"""Hostile and careless peers of the service's sockets: `python -m benchmarks.attack.peers KIND ENDPOINT SECONDS`.

Each does its worst for so many seconds, alone in its process, and ends. Only for loopback.
"""

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

import zmq

Attack = Callable[["zmq.Context[zmq.Socket[bytes]]", str, float], None]


def long_subscriptions(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Subscribe to long random topics, as fast as possible."""
    _subscribe(context, endpoint, until_s, 4_000)


def many_subscriptions(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Subscribe to short random topics, as fast as possible."""
    _subscribe(context, endpoint, until_s, 40)


def _subscribe(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float, topic_bytes: int) -> None:
    subscriber = context.socket(zmq.XSUB)
    subscriber.linger, subscriber.sndhwm = 0, 1_000
    subscriber.connect(endpoint)
    while time.monotonic() < until_s:
        try:
            subscriber.send(b"\1" + os.urandom(topic_bytes), zmq.DONTWAIT)
        except zmq.Again:
            time.sleep(0.001)


def endless_message(_context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Send a request whose last part never comes."""
    _never_end(b"DEALER", endpoint, until_s)


def endless_subscription(_context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Send a subscription whose last part never comes."""
    _never_end(b"SUB", endpoint, until_s)


def _never_end(kind: bytes, endpoint: str, until_s: float) -> None:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    part = b"\x01\xff" + os.urandom(255)
    while time.monotonic() < until_s:
        try:
            with socket.create_connection((host, int(port)), timeout=5) as peer:
                peer.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
                while time.monotonic() < until_s:
                    peer.sendall(part * 200)
        except OSError:
            time.sleep(0.05)


def idle_connections(_context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Open connections, and say nothing."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    held: list[socket.socket] = []
    while time.monotonic() < until_s:
        try:
            held.append(socket.create_connection((host, int(port)), timeout=1))
            if len(held) > 900:
                held.pop(random.randrange(len(held))).close()
        except OSError:
            time.sleep(0.01)


def requests(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Send requests that are none, of up to 64 kB, and read no reply; from ever new identities."""
    number = 0
    while time.monotonic() < until_s:
        dealer = context.socket(zmq.DEALER)
        dealer.linger, dealer.sndhwm = 0, 100
        dealer.setsockopt(zmq.IDENTITY, os.urandom(254).replace(b"\0", b"x"))
        dealer.connect(endpoint)
        for _ in range(2_000):
            number += 1
            try:
                dealer.send(b"{" * (1 + number % 50) + os.urandom(number * 97 % 60_000), zmq.DONTWAIT)
            except zmq.Again:
                time.sleep(0.001)
        dealer.close()


def slow_readers(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, until_s: float) -> None:
    """Subscribe to everything and read nothing."""
    for _ in range(30):
        reader = context.socket(zmq.SUB)
        reader.linger, reader.rcvhwm = 0, 1
        reader.setsockopt(zmq.RCVBUF, 4096)
        reader.connect(endpoint)
        reader.subscribe(b"")
    time.sleep(max(0.0, until_s - time.monotonic()))


PEERS: Final[dict[str, Attack]] = {
    one.__name__: one
    for one in (
        long_subscriptions,
        many_subscriptions,
        endless_message,
        endless_subscription,
        idle_connections,
        requests,
        slow_readers,
    )
}

if __name__ == "__main__":
    with zmq.Context() as own:
        own.setsockopt(zmq.BLOCKY, False)
        PEERS[sys.argv[1]](own, sys.argv[2], time.monotonic() + float(sys.argv[3]))
