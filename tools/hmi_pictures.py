"""Pictures of every page for docs/pictures/hmi: `python -m tools.hmi_pictures` (needs Chromium, and Pillow of `train`).

A simulated line runs with its history and its page; after a while each page is pictured at each size, light and dark.
`--only NAME` pictures one page.
"""

import argparse
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from linewatch.contracts.access import Role
from linewatch.hmi.access.people import People

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


PICTURED: Final[dict[str, tuple[str, Callable[[Any], None]]]] = {
    "login": ("/login", _settled),
    "live": ("/", _live),
}
"""Each page's path, and what is done on it before it is pictured."""

SERVICE: Final = """
taxonomy = "{root}/configs/taxonomy.toml"
[line]
side = "top"
camera = "cam1"
width_px = 1600
frame_lines = 256
mm_per_px = 0.5
mm_per_line = 1.0
line_rate_hz = {line_rate_hz}
[source]
type = "simulator"
seed = 11
length_m = 400.0
defects_per_m = 1.2
coil = "B2417-03"
[[source.roll_mark]]
across_mm = 520.0
pitch_mm = 2128.0
[inference]
chain = "cascade"
engines_dir = "{root}/engines"
[decision]
grading = "{root}/configs/grading/example.toml"
[[roll]]
name = "F7 top work roll"
stand = "F7"
diameter_min_mm = 600.0
diameter_max_mm = 680.0
forward_slip = 0.04
forward_slip_error = 0.02
h_stand_mm = 2.5
h_exit_mm = 2.5
[[alarm]]
name = "long-scratch"
classes = ["scratch"]
min_length_mm = 200.0
priority = "high"
[[alarm]]
name = "cluster"
min_count = 4
within_m = 2.0
[crops]
[journal]
dir = "{folder}/journal"
[wire]
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
commands = "ipc://{folder}/commands"
"""

HISTORY: Final = """
database = "sqlite:///{folder}/history.sqlite"
[[service]]
name = "top"
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
[images]
dir = "{folder}/images"
min_free_mb = 16
"""

PAGE: Final = """
line_name = "Hot strip mill 2"
time_zone = "Europe/Berlin"
taxonomy = "{root}/configs/taxonomy.toml"
history = "{folder}/history.toml"
[service]
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
[commands]
commands = "ipc://{folder}/commands"
[listen]
port = 0
[access]
people_file = "{folder}/people.json"
"""


@contextmanager
def simulated_line(folder: Path, line_rate_hz: float) -> Iterator[str]:
    """Run a service, its history and its page until the end; yield the page's URL."""
    for name, text in (("service", SERVICE), ("history", HISTORY), ("hmi", PAGE)):
        (folder / f"{name}.toml").write_text(text.format(root=ROOT, folder=folder, line_rate_hz=line_rate_hz))
    People(folder / "people.json").set(PERSON, Role.ENGINEER, PASSWORD)
    with ExitStack() as stack:
        for command in ("run", "history", "hmi"):
            config = folder / f"{'service' if command == 'run' else command}.toml"
            log = stack.enter_context((folder / f"{command}.log").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", "linewatch.cli", command, config], stderr=log, env={**os.environ}
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        yield _url(folder / "hmi.log")


def _url(log: Path) -> str:
    for _ in range(600):
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return line.partition('"url": "')[2].partition('"')[0].rstrip("/")
        time.sleep(0.1)
    raise SystemExit(f"linewatch hmi did not start: {log.read_text()}")


def _save(png: bytes, path: Path) -> None:
    """Write a picture of 256 colours: a third of the size, and nobody sees it."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


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
                    color_scheme=scheme,  # type: ignore[arg-type]
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


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PICTURED, help="one page")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--before-s", type=float, default=40.0, help="how long the line runs first")
    parser.add_argument("--line-rate-hz", type=float, default=1500.0)
    given = parser.parse_args()
    with TemporaryDirectory() as folder, simulated_line(Path(folder), given.line_rate_hz) as url:
        take(url, [given.only] if given.only else list(PICTURED), given.out, given.before_s)


if __name__ == "__main__":
    main()
