"""Pictures of every page for docs/pictures/hmi: `python -m tools.hmi_pictures` (needs Chromium, and Pillow of `train`).

A simulated line runs with its history, which holds weeks of coils already, and its page; after a while each page is
pictured at each size, light and dark. `--only NAME ...` pictures some pages.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from linewatch.demo_line import DemoLine

ROOT: Final = Path(__file__).parents[1]
OUT: Final = ROOT / "docs" / "pictures" / "hmi"
SIZES: Final = {"1920": (1920, 1080), "1024": (1024, 768), "phone": (390, 844)}
GRAYS: Final = 64
PERSON, PASSWORD = "E. Brandt", "for the pictures alone"
NEXT_ENGINE: Final = "segment-next"
"""An engine to try: `segment` with another threshold."""


def _settled(page: Any) -> None:
    page.wait_for_timeout(1500)


def _live(page: Any) -> None:
    """Wait for the strip, and open a defect where there is room for it."""
    page.locator("#newest tr").nth(3).wait_for(timeout=60_000)
    page.locator(".camera canvas:not([hidden])").wait_for(timeout=30_000)
    if page.viewport_size["width"] > 1000:
        page.locator("#newest tr").nth(3).click()
        page.click("#follow")
    _settled(page)


def _alarms(page: Any) -> None:
    """Shelve a rule, and acknowledge nothing: the standing alarms are pictured."""
    page.locator("#standing li.alarm").nth(1).or_(page.locator("#held li.alarm")).first.wait_for(timeout=240_000)
    if not page.locator("#held li.alarm").count():
        page.locator('#standing li.alarm [data-does="shelve"]').last.click()
        page.fill("dialog input[name=comment]", "known batch, the customer has agreed")
        page.locator("dialog button.main").click()
        page.locator("#held li.alarm").first.wait_for()
        page.locator(".toast").wait_for(state="detached")
    _settled(page)


def _journal(page: Any) -> None:
    page.locator("#rows tr[data-key]").first.wait_for(timeout=60_000)
    _settled(page)


def _engines(page: Any) -> None:
    """Try an engine, until both have disagreed."""
    page.locator("#running .card").first.wait_for()
    if not page.locator("#trial .candidate").count():
        page.click("#load")
        page.locator("dialog select").select_option(NEXT_ENGINE)
        page.locator("dialog button.main").click()
    page.locator("#pairs figure").nth(5).wait_for(timeout=300_000)
    page.locator(".toast").first.wait_for(state="detached")
    _settled(page)


def _system(page: Any) -> None:
    page.locator(".stage").nth(4).wait_for()
    page.locator("#picture tr").nth(5).wait_for()
    page.wait_for_timeout(2500)


def _looked_at(page: Any) -> None:
    """Have the engine show where it sees the defect."""
    page.locator(".steel").wait_for(timeout=30_000)
    page.keyboard.press("a")
    page.locator(".over[src]").wait_for(timeout=60_000)
    _settled(page)


def _labelled(page: Any) -> None:
    """Label some defects."""
    for key in "rrnr1":
        page.locator(".steel").wait_for(timeout=30_000)
        page.keyboard.press(key)
        page.wait_for_timeout(500)
    _settled(page)


PICTURED: Final[dict[str, tuple[str, Callable[[Any], None]]]] = {
    "login": ("/login", _settled),
    "live": ("/", _live),
    "alarms": ("/alarms", _alarms),
    "journal": ("/journal", _journal),
    "coils": ("/coils", _settled),
    "coil": ("/coils/258", _settled),
    "compare": ("/compare?a=258&b=256", _settled),
    "trends": ("/trends", _settled),
    "rolls": ("/rolls", _settled),
    "defect": ("/defects/6196", _looked_at),
    "labels": ("/labels", _labelled),
    "engines": ("/engines", _engines),
    "system": ("/system", _system),
}
"""Each page's path, and what is done on it before it is pictured."""


def _save(png: bytes, path: Path) -> None:
    """Write a picture of 256 colours, a third of the size: grays of the camera, and the most frequent ones."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours, counts = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_counts=True)
    frequent = colours[np.argsort(-counts)[: 256 - GRAYS]]
    grays = np.linspace(0, 255, GRAYS, dtype=np.uint8)[:, None].repeat(3, axis=1)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.vstack([frequent, grays]).tobytes())
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def take(url: str, names: list[str], out: Path, before_s: float) -> None:
    """Picture these pages at every size, light and dark."""
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        time.sleep(before_s)
        for scheme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    has_touch=size == "phone",
                )
                page = context.new_page()
                for name in names:
                    path, prepare = PICTURED[name]
                    if name != "login" and not context.cookies():
                        _log_in(page, url)
                    page.goto(url + path)
                    prepare(page)
                    page.evaluate("scrollTo(0, 0)")
                    _save(page.screenshot(), out / f"{name}-{size}-{scheme}.png")
                context.close()
        browser.close()


def _write_engines(folder: Path) -> None:
    for name in ("screen", "classify", "segment"):
        shutil.copytree(ROOT / "engines" / name, folder / name)
    shutil.copytree(ROOT / "engines" / "segment", folder / NEXT_ENGINE)
    path = folder / NEXT_ENGINE / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(
        json.dumps(manifest | {"name": NEXT_ENGINE, "thresholds": {**manifest["thresholds"], "defect": 0.9}})
    )


def _log_in(page: Any, url: str) -> None:
    page.goto(f"{url}/login")
    page.fill("input[name=name]", PERSON)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(f"{url}/")


def store_weeks(folder: Path) -> None:
    """Fill the history of the line with 26 weeks of 10 coils."""
    support = ROOT / "tests" / "support"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{support}"}
    subprocess.run([sys.executable, support / "stored_weeks.py", folder, "26", "10"], check=True, env=environment)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PICTURED, nargs="+", help="these pages")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--before-s", type=float, default=40.0, help="how long the line runs first")
    parser.add_argument("--line-rate-hz", type=float, default=1000.0)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        store_weeks(folder)
        _write_engines(folder / "engines")
        with DemoLine(folder, PERSON, PASSWORD, given.line_rate_hz, engines_dir=folder / "engines") as line:
            take(line.url, given.only or list(PICTURED), given.out, given.before_s)


if __name__ == "__main__":
    main()
