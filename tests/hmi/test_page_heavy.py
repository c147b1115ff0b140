"""What the page's process bears: a thousand slow clients, twenty browsers, a day of messages."""

import asyncio
import json
import select
import socket
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from decisions import LINES, coil_notice, defect_event, verdict
from hmi_process import PASSWORD, hmi_config, running_hmi
from stored_coils import messages_of
from waiting import wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from linewatch.client import Subscriber
from linewatch.contracts.access import Role
from linewatch.contracts.verdict import CoilState, DefectState
from linewatch.hmi.connections import MOST_CONNECTIONS
from linewatch.hmi.feed import live_view
from linewatch.hmi.feed.live_view import LiveView
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import StatusMessage

pytestmark = [pytest.mark.service, pytest.mark.heavy]

PERSON = "Olga"
TOPICS = "pulse,coil,strip,defects,roll_marks,status"


def asked(url: str, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer


def session_of(url: str) -> str:
    form = urlencode({"name": PERSON, "password": PASSWORD})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer = asked(url, "POST", "/login", form, Origin=url, **kind)
    assert status == 303
    return answer.getheader("set-cookie").partition(";")[0]


def test_a_thousand_slow_clients_keep_nobody_out(start_service: Any, tmp_path: Path) -> None:
    """Some send half a head and wait, some take nothing of what they are sent; the line does not notice."""
    small = start_service()
    small.tell("coil started")
    config = hmi_config(tmp_path, small.publish, small.serve, people={PERSON: Role.OBSERVER})
    with running_hmi(config) as hmi, Subscriber(small.publish, small.serve) as wire:
        cookie = session_of(hmi.url)
        host, port = hmi.url.removeprefix("http://").split(":")
        slow = []
        for number in range(1000):
            client = socket.create_connection((host, int(port)))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * (number % 50))
            slow.append(client)
        for number in range(20):
            small.tell("frames 5 8")
            status, _ = asked(hmi.url, "GET", "/", Cookie=cookie)
            assert status == 200, f"request {number}"
        assert psutil.Process(hmi.process.pid).num_fds() < MOST_CONNECTIONS + 200
        frames = 0
        while (message := wire.poll(0.5)) is not None and frames < 100:
            frames += message.topic == "frame"
        assert frames == 100, "the service published every frame, in its own time"
        wait_until(lambda: _closed(slow[0]) and _closed(slow[-1]), 30)
        for client in slow:
            client.close()


def test_idle_clients_and_those_that_take_no_answer_keep_nobody_out(start_service: Any, tmp_path: Path) -> None:
    """Each has asked once already, and waits for nothing or does not read what it asked for."""
    small = start_service()
    config = hmi_config(tmp_path, small.publish, small.serve, people={PERSON: Role.OBSERVER})
    with running_hmi(config) as hmi:
        cookie = session_of(hmi.url)
        host, port = hmi.url.removeprefix("http://").split(":")
        clients = []
        for _ in range(MOST_CONNECTIONS + 50):
            client = socket.create_connection((host, int(port)))
            client.sendall(b"GET /catalogue/de.json HTTP/1.1\r\nHost: x\r\n\r\n")
            clients.append(client)
        wait_until(lambda: len(select.select(clients, (), (), 0)[0]) == len(clients), 30)  # answered, or cut
        for number in range(20):
            status, _ = asked(hmi.url, "GET", "/", Cookie=cookie)
            assert status in (200, 429), f"request {number}"  # this address has asked for much
        for client in clients:
            client.close()


def _closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_twenty_browsers_miss_nothing_and_a_stranger_gets_nothing(start_service: Any, tmp_path: Path) -> None:
    small = start_service()
    small.tell("coil started")
    config = hmi_config(tmp_path, small.publish, small.serve, people={PERSON: Role.OBSERVER})
    with running_hmi(config) as hmi:
        cookie = session_of(hmi.url)
        feed = f"ws://{hmi.url.removeprefix('http://')}/feed?topics={TOPICS}"
        found = asyncio.run(_browsers(feed, hmi.url, cookie, small))
        assert found == [300] * 20
        forged = asyncio.run(_refused(feed, hmi.url, "linewatch=forged"))
        assert forged == 4401, "a page of ours is told that its person has to log in again"
        assert asyncio.run(_refused(feed, "http://evil.example", cookie)) == 403


async def _browsers(feed: str, url: str, cookie: str, small: Any) -> list[int]:
    async def frames_of() -> int:
        end_mm, frames = 0.0, 0
        async with connect(feed, origin=url, additional_headers={"Cookie": cookie}, max_size=None) as browser:
            started.append(browser)
            async for message in browser:
                parts = json.loads(message)
                for edge in parts.get("state", {}).get("strip", {}).get("edges", ()):  # the whole strip so far
                    end_mm, frames = edge[1], round(edge[1] / LINES)
                for one in parts.get("news", {}).get("strip", []):
                    assert one["edge"][0] == end_mm
                    end_mm, frames = one["edge"][1], frames + 1
                if frames >= 300:
                    return frames
        return frames

    started: list[Any] = []

    async def tell() -> None:
        while len(started) < 20:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        for _ in range(30):
            await asyncio.to_thread(small.tell, "frames 10 8")

    *found, _ = await asyncio.gather(*(frames_of() for _ in range(20)), tell())
    return list(found)


async def _refused(feed: str, origin: str, cookie: str) -> int:
    """Return how a stream ends that sends nothing: the status of the handshake, or the code behind it."""
    try:
        async with connect(feed, origin=origin, additional_headers={"Cookie": cookie}) as stream:
            raise AssertionError(await stream.recv())
    except InvalidStatus as refused:
        return refused.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 0


def test_a_day_of_messages_leaves_no_more_memory_than_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day at 100 times the pace of a line of 78 frames/s, in coils of 40 minutes, shortened alike; nobody fetches."""
    monkeypatch.setattr(live_view, "MOST_DEFECTS", 2_000)
    view, sequencer, process = LiveView(), Sequencer(1, "abc"), psutil.Process()
    sizes, began_s = [], time.monotonic()
    for coil in range(36):
        for message in messages_of(coil_notice(CoilState.STARTED), sequencer=sequencer):
            view.take(message)
        for frame in range(1_870):
            defects = (defect_event(frame, DefectState.CLOSED),) if frame % 3 == 0 else ()
            for message in messages_of(verdict(frame, defects, missed_lines=frame % 7), sequencer=sequencer):
                assert not isinstance(message, StatusMessage)
                view.take(message)
            if coil % 2 and frame % 50 == 0:  # every other coil with a browser, the others without
                view.news()
                view.state_of()
        sizes.append(process.memory_info().rss / 1e6)
    assert max(sizes[18:]) < max(sizes[:6]) + 30, sizes
    print(f"{36 * 1870} frames in {time.monotonic() - began_s:.0f} s; MB: {sizes[0]:.0f} to {sizes[-1]:.0f}")
