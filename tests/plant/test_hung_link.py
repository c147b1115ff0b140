"""The service manager's watchdog is not fed while the thread that talks to the plant makes no turn."""

import asyncio
import time
from pathlib import Path

import pytest

from linewatch.plant import process
from linewatch.plant.follower import Follower
from linewatch.plant.plc.values import PlcView
from linewatch.plant.process import LINK_HUNG_S, BridgeProcess
from linewatch.plant.s7.settings import S7Settings


def test_the_watchdog_waits_for_a_link_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three looks find the link hung; the fourth finds that it goes on, and feeds."""
    monkeypatch.setattr(process, "WATCH_S", 0.01)
    settings = S7Settings.model_validate(
        {
            "service": {"publish": f"ipc://{tmp_path}/pub", "serve": f"ipc://{tmp_path}/rep"},
            "plc": {"address": "127.0.0.1"},
        }
    )
    looks, fed = 0, []

    async def serve() -> None:
        bridge, view = BridgeProcess("s7", settings), PlcView(settings)

        def turned_s() -> float:
            nonlocal looks
            looks += 1
            return time.monotonic() - (2 * LINK_HUNG_S if looks <= 3 else 0.0)

        def connections() -> str:
            fed.append(looks)
            bridge.end()
            return ""

        await bridge.run(Follower(settings.service, view, lambda: None, bridge.end), connections, turned_s=turned_s)

    asyncio.run(asyncio.wait_for(serve(), 60.0))
    assert fed[0] == 4
