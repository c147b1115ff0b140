"""Pictures of every page for docs/pictures/hmi: `python -m tools.hmi_pictures` (needs Chromium, and Pillow of `train`).

A simulated line runs with its history, which holds weeks of coils already, and its page; after a while each page is
pictured at each size, light and dark. `--only NAME ...` pictures some pages.
"""

import argparse
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from linewatch.demo_line import DemoLine

ROOT: Final = Path(__file__).parents[1]
OUT: Final = ROOT / "docs" / "pictures" / "hmi"
SIZES: Final = {"1920": (1920, 1080), "1024": (1024, 768), "phone": (390, 844)}
PERSON, PASSWORD = "E. Brandt", "for the pictures alone"


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
    "coils": ("/coils", _settled),
    "coil": ("/coils/258", _settled),
    "compare": ("/compare?a=258&b=256", _settled),
    "trends": ("/trends", _settled),
    "rolls": ("/rolls", _settled),
    "defect": ("/defects/6183", _looked_at),
    "labels": ("/labels", _labelled),
}
"""Each page's path, and what is done on it before it is pictured."""


def _save(png: bytes, path: Path) -> None:
    """Write a picture of 256 colours: a third of the size, and nobody sees it."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


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
                    _save(page.screenshot(), out / f"{name}-{size}-{scheme}.png")
                context.close()
        browser.close()


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
    with TemporaryDirectory() as folder:
        store_weeks(Path(folder))
        with DemoLine(Path(folder), PERSON, PASSWORD, given.line_rate_hz) as line:
            take(line.url, given.only or list(PICTURED), given.out, given.before_s)


if __name__ == "__main__":
    main()
