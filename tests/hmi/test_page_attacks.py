"""What strangers send to the page: nothing gets in, nothing is told, nothing fails, and the page serves on."""

import asyncio
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hmi_process import PASSWORD, hmi_config, running_hmi
from web_client import WebClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from linewatch.contracts.access import Role
from linewatch.hmi.access.guard import MOST_BODY_BYTES

pytestmark = [pytest.mark.service, pytest.mark.heavy]

PERSON = "Olga <script>Observer</script>"
OUTSIDE = (
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/%2e%2e/hmi/app.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/..%5capp.py",
    "/static/live.js%00.png",
    "/catalogue/..%2fde.json",
    "/catalogue/../../etc/passwd.json",
    "/live/crop?defect=" + quote("../../../etc/passwd"),
    "/live/picture?camera=" + quote("../../etc/passwd") + "&ordinal=0",
    "/live/picture?camera=&ordinal=" + "9" * 400,
)
LOG_INS: dict[str, tuple[bytes, str, set[int]]] = {
    "nothing": (b"", "", {403}),
    "no form": (b"{}", "", {403}),
    "bytes that are no text": (b"name=\xff\xfe%ff&password=\x00%00", "", {403}),
    "a thousand fields": (b"&".join(b"a=1" for _ in range(1000)), "", {400}),
    "a name twice": (b"name=a&name=b&password=x", "", {403}),
    "too large": (b"name=" + b"a" * MOST_BODY_BYTES, "", {400, 429}),
    "from another site": (b"name=a&password=b", "http://evil.example", {400, 429}),
    "from no site": (b"name=a&password=b", "null", {400, 429}),
}
RAW = (
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
    b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\nCookie: linewatch=x\r\n\r\n",
    b"GET /\x00\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /feed HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
)


def sent(host: str, port: int, request: bytes, ends: bool = True) -> bytes:
    """Send bytes, and return all that is answered. ends: say that there are no more."""
    with socket.create_connection((host, port), 30) as client:
        client.sendall(request)
        if ends:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := client.recv(65536):
                answer += part
        except ConnectionError:
            pass
        return answer


def test_nothing_gets_in(start_service: Any, tmp_path: Path) -> None:
    small = start_service()
    small.tell("coil started")
    with running_hmi(hmi_config(tmp_path, small.publish, small.serve, people={PERSON: Role.OBSERVER})) as hmi:
        host, port = hmi.url.removeprefix("http://").split(":")
        person = WebClient(hmi.url, PERSON)
        for path in OUTSIDE:
            status, _, body = person.get(path)
            assert status in (400, 404), path
            assert b"root:" not in body, path
            assert b"import" not in body, path
        status, headers, body = person.get("/")
        assert (status, PERSON.encode() in body, b"&lt;script&gt;Observer" in body) == (200, False, True)
        assert "'unsafe-inline'" not in headers["content-security-policy"]

        for request in RAW:
            answer = sent(host, int(port), request)
            assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 101")), request[:60]
            assert b"Traceback" not in answer
        for why, (body, origin, statuses) in LOG_INS.items():
            head = f"POST /login HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin or hmi.url}\r\n"
            head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            answer = sent(host, int(port), head.encode() + body, ends=False)
            assert int(answer.split(maxsplit=2)[1]) in statuses | {429}, why
            assert b"set-cookie" not in answer.lower(), why
        asyncio.run(_streams(hmi.url, person.cookie))

        assert person.get("/")[0] == 200, "the page serves on"
        assert not hmi.logged("page_failed")
        assert all(PASSWORD not in str(line) for line in hmi.events)


async def _streams(url: str, cookie: str) -> None:
    """A stream needs our own page's origin and a session; whoever speaks on it, or asks for too much, is closed."""
    feed = f"ws://{url.removeprefix('http://')}/feed"

    async def ended(address: str, headers: dict[str, str], says: str | bytes | None = None, **options: Any) -> int:
        try:
            async with connect(address, additional_headers=headers, **options) as stream:
                if says is not None:
                    await stream.send(says)
                async for _ in stream:
                    pass
                return stream.close_code or 0
        except InvalidStatus as refused:
            return refused.response.status_code
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0

    known = {"Cookie": cookie}
    for origin in (None, "null", "http://evil.example", url.replace("127.0.0.1", "127.0.0.1.evil.example"), f"{url}0"):
        assert await ended(feed, known, origin=origin) == 403, origin
    assert await ended(feed, {"Cookie": "linewatch=" + "x" * 3000}, origin=url) == 4401
    assert await ended(f"{feed}?topics=pulse,secrets", known, origin=url) in (403, 1013)
    for says in ("hello", b"x" * 100_000):
        async with asyncio.timeout(30):
            await ended(feed, known, says, origin=url)
