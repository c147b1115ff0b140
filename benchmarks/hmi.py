"""What the page costs and how fast it is: `python -m benchmarks.hmi` (needs Chromium and psutil).

acknowledge: from one person's click until another person's page shows it. map: frames/s of the strip map with 10,000
defects in view that scrolls. defect: from a verdict's publication to the page. line: CPU time of the service for each
frame, and its latency, alone and with twenty browsers that follow it and the camera's picture. picture: what the newest
picture costs the decision, in microseconds a frame.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil
from playwright.sync_api import TimeoutError, sync_playwright
from websockets.asyncio.client import connect

from linewatch.capture.clock import MonotonicClock
from linewatch.client import Subscriber
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.frame import Frame
from linewatch.daemon.newest_picture import NewestPictureMaker
from linewatch.demo_line import DemoLine
from linewatch.wire.schema import FrameMessage
from tools.hmi_pictures import PASSWORD, PERSON

BROWSERS = 20
FILL = """(count) => {
  const classes = document.documentElement.dataset.classes.split(" "), defects = [];
  for (let i = 0; i < count; i++) {
    const along = 200000 * i / count, across = 20 + (i * 7919 % 740), probability = 0.9, closed = true;
    defects.push({ id: `d${i}`, side: "top", camera: "cam1", class: classes[i % classes.length], severity: i % 6,
      across_mm: [across, across + 5], along_mm: [along, along + 20], tentative: i % 5 === 0, probability, closed });
  }
  const strip = { spans: [[0, 200000, "inspected", "", ""]], edges: [[0, 200000, 10, 790]] };
  stripMap.begin({ strip, defects, roll_marks: [] });
  stripMap.setSpan(200000); stripMap.follow(true); stripMap.live = true; stripMap.speedMmPerS = 20000;
  stripMap.begin = () => {}; const add = stripMap.add.bind(stripMap); stripMap.add = () => {};
  let end = 200000, n = 0;
  setInterval(() => {  // 20 m/s, 50 defects/s more
    const more = Array.from({ length: 3 }, () => ({ ...defects[n % count], id: `m${n++}`, along_mm: [end, end + 20] }));
    const piece = { spans: [[end, end + 1000, "inspected", "", ""]], edge: [end, end + 1000, 10, 790] };
    add({ strip: [piece], defects: more });
    end += 1000;
  }, 50);
}"""
COUNT = """(seconds) => new Promise((done) => {
  const at = []; Object.assign(stripMap.drawn, { frames: 0, tiles: 0, busyMs: 0 });
  const began = performance.now();
  const next = (now) => { at.push(now); if (performance.now() - began < seconds * 1000) requestAnimationFrame(next);
    else done({ at, ...stripMap.drawn }); };
  requestAnimationFrame(next);
})"""
DELAYS = """() => { window.delaysMs = []; const add = stripMap.add.bind(stripMap);
  stripMap.add = (parts) => {
    const told = (parts.defects ?? []).filter((one) => one.published_unix_ms);
    delaysMs.push(...told.map((one) => Date.now() - one.published_unix_ms)); add(parts); }; }"""
WATCH = """(one) => { window.seenMs = null; const seen = () => {
    if (!document.querySelector(`${one}[data-open="true"]`)) window.seenMs ??= Date.now(); };
  const options = { childList: true, subtree: true, attributes: true };
  new MutationObserver(seen).observe(document.getElementById("standing"), options); }"""
CLICK = "(button) => { const now = Date.now(); document.querySelector(button).click(); return now; }"
OPEN = 'li.alarm[data-open="true"]'
PATIENCE_MS = 120_000


def _logged_in(url: str) -> tuple[str, str]:
    """Return host and port, and the cookie of a new session."""
    host = url.removeprefix("http://")
    connection = HTTPConnection(host)
    form = urlencode({"name": PERSON, "password": PASSWORD})
    headers = {"Origin": url, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", form, headers)
    return host, (connection.getresponse().getheader("set-cookie") or "").partition(";")[0]


def measure_map(page: Any, seconds: float) -> dict[str, float]:
    """Frames/s with 10,000 defects in the window."""
    page.evaluate(FILL, 10_000)
    page.wait_for_timeout(2000)
    found = page.evaluate(COUNT, seconds)
    intervals = np.diff(found["at"])
    return {
        "frames_per_s": round(1000 / float(intervals.mean()), 1),
        "p99_interval_ms": round(float(np.percentile(intervals, 99)), 1),
        "script_ms_a_frame": round(found["busyMs"] / found["frames"], 2),
        "tiles_drawn": found["tiles"],
    }


def wait_for(page: Any, condition: str) -> None:
    """Wait until a page's script says so. Playwright's own waiting evaluates texts, which our pages' policy refuses."""
    until_s = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        if time.monotonic() > until_s:
            raise TimeoutError(f"{condition}: not within {PATIENCE_MS} ms")
        page.wait_for_timeout(20)


def acknowledged_ms(clicks: Any, sees: Any) -> float:
    """Acknowledge an alarm on one page; return the milliseconds until the other, on this host too, shows it."""
    clicks.locator(OPEN).first.wait_for(timeout=PATIENCE_MS)
    one = f'li.alarm[data-id="{clicks.locator(OPEN).first.get_attribute("data-id")}"]'
    sees.locator(f'{one}[data-open="true"]').wait_for(timeout=PATIENCE_MS)
    sees.evaluate(WATCH, one)
    clicked_ms = clicks.evaluate(CLICK, f'{one} [data-does="acknowledge"]')
    wait_for(sees, "seenMs !== null")
    return float(sees.evaluate("seenMs")) - float(clicked_ms)


def measure_acknowledge(browser: Any, url: str, count: int) -> dict[str, float]:
    """Two people take turns, as often as alarms come within PATIENCE_MS."""
    pages = [logged_in(browser, url, "/alarms") for _ in range(2)]
    took: list[float] = []
    with suppress(TimeoutError):
        for turn in range(count):
            took.append(acknowledged_ms(*(pages if turn % 2 else reversed(pages))))
    for page in pages:
        page.context.close()
    return {"times": len(took)} | ({"p50_ms": statistics.median(took), "max_ms": max(took)} if took else {})


def logged_in(browser: Any, url: str, path: str, width: int = 1920, height: int = 1080) -> Any:
    """Return a page of a new session."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(f"{url}/login?next={path}")
    page.fill("input[name=name]", PERSON)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.locator("html[data-link=live]").wait_for()
    return page


async def _follow(url: str, cookie: str, host: str, until_s: float) -> tuple[int, int]:
    """Follow the feed as the live page does; return the numbers of messages and of whole states."""
    topics = "pulse,coil,strip,defects,roll_marks,status"
    messages = states = 0
    async with connect(
        f"ws://{host}/feed?topics={topics}", origin=url, additional_headers={"Cookie": cookie}, max_size=None
    ) as socket:
        while time.monotonic() < until_s:
            message = await socket.recv()
            messages += 1
            states += message[:200].find('"state":') >= 0
    return messages, states


async def _watch_picture(host: str, cookie: str, until_s: float) -> int:
    """Ask for the newest picture as the live page does; return how many came."""

    def ask() -> int:
        connection = HTTPConnection(host, timeout=10)
        connection.request("GET", "/live/place?camera=", headers={"Cookie": cookie})
        about = json.loads(connection.getresponse().read())
        if "ordinal" not in about:
            return 0
        connection.request("GET", f"/live/picture?camera=&ordinal={about['ordinal']}", headers={"Cookie": cookie})
        return len(connection.getresponse().read()) > 0

    came = 0
    while time.monotonic() < until_s:
        came += await asyncio.to_thread(ask)
        await asyncio.sleep(0.25)
    return came


async def _browsers(url: str, seconds: float) -> dict[str, int]:
    host, cookie = _logged_in(url)
    until_s = time.monotonic() + seconds
    followed = [_follow(url, cookie, host, until_s) for _ in range(BROWSERS)]
    watched = [_watch_picture(host, cookie, until_s) for _ in range(BROWSERS)]
    found = await asyncio.gather(*followed, *watched)
    return {
        "messages": sum(one[0] for one in found[:BROWSERS]),
        "begun_anew": sum(one[1] for one in found[:BROWSERS]) - BROWSERS,
        "pictures": sum(found[BROWSERS:]),
    }


@contextmanager
def _counted(service: psutil.Process, folder: Path, into: dict[str, Any]) -> Iterator[None]:
    """Count the service's frames, latencies and CPU time meanwhile."""
    with Subscriber(f"ipc://{folder}/publish", f"ipc://{folder}/serve", ["frame"]) as wire:
        wire.poll(2.0)
        before, latencies, missed = service.cpu_times(), [], 0
        yield
        after = service.cpu_times()
        while isinstance(message := wire.poll(0.05), FrameMessage):
            latencies.append((message.timing.published_ns - message.timing.captured_ns) / 1e6)
            missed += any(span.quality.value != "inspected" for span in message.spans)
    busy_s = after.user + after.system - before.user - before.system
    into |= {
        "frames": len(latencies),
        "not_wholly_inspected": missed,
        "cpu_ms_a_frame": round(1000 * busy_s / max(1, len(latencies)), 2),
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p99_ms": round(float(np.percentile(latencies, 99)), 1),
    }


def measure_line(url: str, folder: Path, seconds: float) -> dict[str, dict[str, Any]]:
    """The service alone, with browsers, and alone again."""
    (service,) = [one for one in psutil.Process().children() if str(folder / "service.toml") in one.cmdline()]
    found: dict[str, dict[str, Any]] = {}
    for name, watched in (("alone", False), ("20 browsers", True), ("alone again", False)):
        part: dict[str, Any] = {}
        with _counted(service, folder, part):
            if watched:
                part |= asyncio.run(_browsers(url, seconds))
            else:
                time.sleep(seconds)
        found[name] = part
    return found


def measure_picture() -> dict[str, float]:
    """Microseconds of the decision's thread for a frame, while nobody asks and when one is reduced."""
    pixels = np.random.default_rng(0).integers(0, 255, (256, 1600), np.uint8)
    columns, clock = AcrossMap(0.0, 0.5, 1600), MonotonicClock()
    frame = Frame(pixels, 0, 0, "c", "top", "cam", 0, 0, 256, 256, 0, 0.0, 1.0, columns, 1)
    maker = NewestPictureMaker(clock)

    def once(asked: bool) -> float:
        maker._asked_ns, maker._next_ns = (clock.now_ns() if asked else -(10**12)), 0
        began = time.perf_counter()
        maker.follow(frame)
        return 1e6 * (time.perf_counter() - began)

    return {
        "nobody_asks_us": round(statistics.median(once(False) for _ in range(2000)), 2),
        "reduced_us": round(statistics.median(once(True) for _ in range(500)), 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--line-rate-hz", type=float, default=2000.0)
    parser.add_argument("--alarms", type=int, default=10, help="how many are acknowledged")
    given = parser.parse_args()
    found: dict[str, Any] = {"picture": measure_picture()}
    with TemporaryDirectory() as name, DemoLine(Path(name), PERSON, PASSWORD, given.line_rate_hz) as line:
        url = line.url
        time.sleep(10)
        found["line"] = measure_line(url, Path(name), given.seconds)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            found["acknowledge"] = measure_acknowledge(browser, url, given.alarms)
            page = logged_in(browser, url, "/")
            page.evaluate(DELAYS)
            page.wait_for_timeout(1000 * given.seconds)
            delays = page.evaluate("delaysMs")
            found["defect"] = {"defects": len(delays)} | (
                {"p50_ms": float(np.percentile(delays, 50)), "max_ms": max(delays)} if delays else {}
            )
            found["map"] = measure_map(page, 10.0)
            browser.close()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
