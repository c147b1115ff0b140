"""Hostile OPC UA clients: random bytes, sessions that are never closed, answers that are never read. None does harm.

What the attackers leave behind is bounded, an honest client is served all the while, and the service is not disturbed.
"""

import asyncio
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from asyncua import ua
from opcua_plant import OpcuaBridge, Plant
from real_service import RealService

pytestmark = [pytest.mark.service, pytest.mark.heavy]

SESSIONS = 8
GROWTH_MB = 80.0
DICE = random.Random(17)


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[OpcuaBridge]:
    service = RealService(tmp_path / "service", frames=8000)
    running = OpcuaBridge(tmp_path / "bridge", service, f"sessions = {SESSIONS}\nmonitored_items = 500")
    running.wait_for("service_state", state="running")
    yield running
    running.process.kill()
    running.join()
    service.kill()


async def throw(port: int, data: bytes) -> None:
    """Send bytes, and leave without reading all of the answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(0.2):
            await reader.read(100)
        writer.close()
    except (OSError, TimeoutError):
        pass


def hello() -> bytes:
    url = b"opc.tcp://127.0.0.1"
    body = struct.pack("<IIIIIi", 0, 65_535, 65_535, 0, 0, len(url)) + url
    return b"HELF" + struct.pack("<I", len(body) + 8) + body


def hostile(number: int) -> bytes:
    """Return bytes that are no honest request."""
    noise = DICE.randbytes(DICE.randrange(1, 2_000))
    match number % 6:
        case 0:
            return noise
        case 1:
            return b"HELF" + struct.pack("<I", 0xFFFF_FFFF) + noise  # announces 4 GB
        case 2:
            return hello() + b"MSGF" + struct.pack("<II", len(noise) + 12, 0) + noise  # before a channel is open
        case 3:
            return hello() + b"OPNF" + struct.pack("<II", len(noise) + 12, 0) + noise
        case 4:
            policy = b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
            head = struct.pack("<i", len(policy)) + policy + struct.pack("<i", len(noise)) + noise
            return hello() + b"OPNF" + struct.pack("<II", len(head) + 12, 0) + head
        case _:
            good = bytearray(hello())
            good[DICE.randrange(len(good))] ^= 1 << DICE.randrange(8)
            return bytes(good)


async def beats(plant: Plant) -> int:
    return int(await plant.value("Health.Heartbeat"))


def test_attackers_do_no_harm(bridge: OpcuaBridge) -> None:
    process = psutil.Process(bridge.process.pid)

    async def story() -> None:
        async with bridge.connected("operator") as plant:
            for number in range(60):
                await throw(bridge.port, hostile(number))
            before_mb, beat = process.memory_info().rss / 1e6, await beats(plant)
            waits = [
                await _random_bytes(bridge, plant),
                await _sessions(bridge, plant),
                await _never_read(bridge, plant),
            ]
            await asyncio.sleep(1.0)
            assert await beats(plant) > beat
            grown_mb = process.memory_info().rss / 1e6 - before_mb
            print(f"slowest answers {[round(1000 * one) for one in waits]} ms, memory +{grown_mb:.1f} MB")
            assert grown_mb < GROWTH_MB
        async with bridge.connected("observer") as later:  # there is room again
            assert await later.value("Health.StateText") == "running"

    asyncio.run(story())
    assert bridge.process.poll() is None
    refusals = [event for event in bridge.events if event["event"].startswith("opcua_client")]
    assert 0 < len(refusals) < 100  # however many there were
    assert any(event["event"] == "opcua_sessions_full" for event in bridge.events)


async def _random_bytes(bridge: OpcuaBridge, plant: Plant) -> float:
    """3,000 connections of random and mutated bytes, fifty at a time."""
    slowest_s = 0.0
    for batch in range(60):
        throws = [throw(bridge.port, hostile(50 * batch + one)) for one in range(50)]
        asked = asyncio.create_task(_answer_s(plant))
        await asyncio.gather(*throws)
        slowest_s = max(slowest_s, await asked)
    return slowest_s


async def _sessions(bridge: OpcuaBridge, plant: Plant) -> float:
    """1,000 sessions of a trusted client that never closes one."""
    opened, refused, slowest_s = [], 0, 0.0
    for _ in range(1_000):
        client = await bridge.client_of("observer")
        try:
            await client.connect()
            opened.append(client)
        except ua.UaError:
            refused += 1
        if refused % 50 == 1:
            slowest_s = max(slowest_s, await _answer_s(plant))
    assert len(opened) == SESSIONS - 1
    assert refused == 1_000 - len(opened)
    for client in opened:
        await client.disconnect()
    return slowest_s


async def _never_read(bridge: OpcuaBridge, plant: Plant) -> float:
    """A client that asks for much and takes no answer."""
    client = await bridge.client_of("observer")
    await client.connect()
    hungry = await Plant.of(client)
    nodes = [hungry.node("Health.Engines").nodeid] * 500
    params = ua.ReadParameters(NodesToRead=[ua.ReadValueId(node, ua.AttributeIds.Value) for node in nodes])
    transport = client.uaclient.protocol.transport
    transport.pause_reading()
    asked = [asyncio.create_task(client.uaclient.read(params)) for _ in range(800)]
    slowest_s, end_s = 0.0, time.monotonic() + 10
    while time.monotonic() < end_s and not transport.is_closing():
        slowest_s = max(slowest_s, await _answer_s(plant))
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    transport.abort()
    return slowest_s


async def _answer_s(plant: Plant) -> float:
    """Return how long an honest client waits for an answer."""
    began_s = time.monotonic()
    await beats(plant)
    return time.monotonic() - began_s
