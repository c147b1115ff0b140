"""Whether a day of messages fills any memory: `python -m benchmarks.hmi_day` (needs Chromium, psutil and tests/).

A service tells frames, defects, alarms, roll marks and coils of 40 minutes, `--pace` times as fast as a line of
7.8 frames/s, over its real sockets and journal; `linewatch hmi` follows it, and Chromium shows the live page and the
alarms in two tabs. At the end of every coil it measures the resident memory of the page's process and the heap of
either tab behind a collection of its garbage. It prints JSON: each figure's growth per hour of messages, with the
half-width of its 95 % interval, over the coils behind the first quarter.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import psutil
from playwright.sync_api import sync_playwright
from rich.progress import track

from benchmarks.hmi import logged_in, wait_for
from linewatch.contracts.access import Role
from linewatch.hmi.access.people import People
from tools.hmi_pictures import PASSWORD, PERSON

ROOT: Final = Path(__file__).parents[1]
FRAMES_PER_S: Final = 7.8
COIL_S: Final = 2400.0
BEATS_PER_S: Final = 10.0
STARTS_WITHIN_S: Final = 60.0
T_95: Final = 2.1
"""Of Student's distribution, for the 15 to 30 coils that are counted."""


class ToldService:
    """tests/support/small_service.py, told what to decide."""

    def __init__(self, folder: Path) -> None:
        support = ROOT / "tests" / "support"
        ends = [f"ipc://{folder}/publish", f"ipc://{folder}/serve"]
        self._process = subprocess.Popen(
            [sys.executable, support / "small_service.py", folder / "journal", *ends, "20000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{support}"},
        )
        self._hear()

    def tell(self, command: str) -> None:
        """Have it carry out one command, and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._hear()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the service ended"


@contextmanager
def page_process(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the process of `linewatch hmi` over the service in that folder, and the page's address."""
    People(folder / "people.json").set(PERSON, Role.OPERATOR, PASSWORD)
    config, log = folder / "hmi.toml", folder / "hmi.log"
    config.write_text(
        f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n[service]\npublish = "ipc://{folder}/publish"\n'
        f'serve = "ipc://{folder}/serve"\n[listen]\nport = 0\n[access]\npeople_file = "{folder}/people.json"\n'
    )
    with log.open("w") as written:
        process = psutil.Popen([sys.executable, "-m", "linewatch.cli", "hmi", config], stderr=written)
        try:
            until_s = time.monotonic() + STARTS_WITHIN_S
            while '"listening"' not in log.read_text():
                assert time.monotonic() < until_s, log.read_text()
                time.sleep(0.1)
            yield process, log.read_text().partition('"url": "')[2].partition('"')[0].rstrip("/")
        finally:
            process.terminate()
            process.wait()


def told_coil(service: ToldService, pace: float) -> float:
    """Have one coil told at that pace, or as fast as it goes; return the seconds that it took."""
    began_s, frames = time.monotonic(), round(COIL_S * FRAMES_PER_S)
    beats = round(COIL_S / pace * BEATS_PER_S)
    service.tell("coil started")
    for beat in range(beats):
        service.tell(f"frames {frames * (beat + 1) // beats - frames * beat // beats} 8 closed")
        if beat % 20 == 0:
            service.tell("alarm")
            service.tell("clear")
            service.tell("roll")
        time.sleep(max(0.06, began_s + (beat + 1) / BEATS_PER_S - time.monotonic()))  # it is heard to be alive
    service.tell("coil ended")
    return time.monotonic() - began_s


def opened(browser: Any, url: str, path: str) -> tuple[Any, Any]:
    """Return a page of a new session, and what asks Chromium about it."""
    page = logged_in(browser, url, path, 1280, 800)
    return page, page.context.new_cdp_session(page)


def heap_mb(tab: Any) -> float:
    """Megabytes of a tab's heap that are in use behind a collection of its garbage."""
    tab.send("HeapProfiler.collectGarbage")
    return float(tab.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def growth(values: list[float]) -> dict[str, float]:
    """Slope per hour of messages, in the values' unit, and the half-width of its 95 % interval."""
    kept = np.array(values[len(values) // 4 :])
    found = {"first": round(values[0], 2), "last": round(values[-1], 2), "most": round(max(values), 2)}
    if len(kept) < 4:
        return found
    hours = np.arange(len(kept)) * COIL_S / 3600
    slope, at = np.polyfit(hours, kept, 1)
    error = np.sqrt(((kept - slope * hours - at) ** 2).sum() / (len(kept) - 2) / ((hours - hours.mean()) ** 2).sum())
    return found | {"growth_per_h": round(float(slope), 4), "plus_minus": round(T_95 * float(error), 4)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of messages")
    parser.add_argument("--pace", type=float, default=100.0, help="times as fast as the line")
    given = parser.parse_args()
    figures: dict[str, list[float]] = {"process_mb": [], "live_tab_mb": [], "alarms_tab_mb": []}
    took_s: list[float] = []
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        service = ToldService(Path(name))
        try:
            with page_process(Path(name)) as (process, url):
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                (page, live), (_, alarms) = (opened(browser, url, path) for path in ("/", "/alarms"))
                for _ in track(range(max(1, round(given.hours * 3600 / COIL_S))), "coils"):
                    took_s.append(told_coil(service, given.pace))
                    wait_for(page, f"defectsOnPage() >= {round(COIL_S * FRAMES_PER_S)}")
                    figures["process_mb"].append(process.memory_info().rss / 1e6)
                    figures["live_tab_mb"].append(heap_mb(live))
                    figures["alarms_tab_mb"].append(heap_mb(alarms))
                browser.close()
        finally:
            service.end()
    found: dict[str, Any] = {
        "hours": len(took_s) * COIL_S / 3600,
        "pace": round(len(took_s) * COIL_S / sum(took_s), 1),
        "frames": len(took_s) * round(COIL_S * FRAMES_PER_S),
    }
    print(json.dumps(found | {of: growth(values) for of, values in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
