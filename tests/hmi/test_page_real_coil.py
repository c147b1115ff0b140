"""The page over the real service that replays a coil of real, held-out frames: what two people and the map do."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from types import SimpleNamespace

import numpy as np
import pytest
from hmi_process import ROOT, chromium, hmi_config, logged_in, needs_chromium, running_hmi
from page_findings import findings, noted
from waiting import wait_until

from benchmarks.hmi import DELAYS, OPEN, acknowledged_ms
from experiments.held_out_coil import build
from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy

pytestmark = [
    pytest.mark.service,
    pytest.mark.heavy,
    needs_chromium,
    pytest.mark.skipif(
        not Path(os.environ.get("LINEWATCH_DATA", "/nowhere")).is_dir(), reason="LINEWATCH_DATA has no real frames"
    ),
]

LINE_RATE_HZ = 256.0
"""A frame a second: the coil of 100 frames lasts as long as the story."""
RULES = ("first", "second", "third", "fourth")
CONFIG = """
taxonomy = "{root}/configs/taxonomy.toml"
[line]
line_rate_hz = {rate}
[source]
type = "recording"
path = "{coil}/coil.avi"
[inference]
chain = "cascade"
engines_dir = "{root}/engines"
deadline_ms = 60000.0
[crops]
{rules}
[journal]
dir = "{folder}/journal"
[wire]
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
commands = "ipc://{folder}/commands"
"""


@pytest.fixture(scope="module")
def coil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of `make coil`."""
    folder = tmp_path_factory.mktemp("coil")
    build(Path(os.environ["LINEWATCH_DATA"]), folder, LineSettings(), Taxonomy.read(ROOT / "configs" / "taxonomy.toml"))
    return folder


@contextmanager
def replayed(coil: Path, folder: Path) -> Iterator[SimpleNamespace]:
    """Yield `linewatch run` over the recording, at the pace of a line, the process of its page, and a browser."""
    config = folder / "service.toml"
    rules = "".join(f'[[alarm]]\nname = "{name}"\npriority = "urgent"\n' for name in RULES)
    config.write_text(CONFIG.format(root=ROOT, coil=coil, folder=folder, rate=LINE_RATE_HZ, rules=rules))
    service = Popen([sys.executable, "-m", "linewatch.cli", "run", config], cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL)
    try:
        ends = (f"ipc://{folder}/{name}" for name in ("publish", "serve", "commands"))
        with running_hmi(hmi_config(folder, *ends)) as hmi, chromium() as browser:
            yield SimpleNamespace(service=service, url=hmi.url, browser=browser)
    finally:
        service.terminate()
        service.wait()
        shutil.rmtree(folder / "journal", ignore_errors=True)


def test_two_people_watch_a_real_coil_and_act_on_it(coil: Path, tmp_path: Path) -> None:
    with replayed(coil, tmp_path) as line:
        page = logged_in(line.browser, line.url, "Olga Observer")
        page.set_default_timeout(120_000)
        errors = noted(page)
        page.evaluate(DELAYS)
        page.locator("html[data-link=live]").wait_for()
        wait_until(lambda: page.locator("#coil").text_content() == "REAL")
        page.locator("#newest tr").nth(5).wait_for()
        page.locator(".camera canvas:not([hidden])").wait_for()
        before_mm = page.evaluate("stripMap.shownMm")
        wait_until(lambda: page.evaluate("stripMap.shownMm") > before_mm + 2000)
        wait_until(lambda: page.evaluate("delaysMs.length") >= 30, 120.0)
        delays = page.evaluate("delaysMs")
        print(f"{len(delays)} defects on the page after {np.median(delays):.0f} ms (median), {max(delays):.0f} at most")

        known = page.evaluate("defectsOnPage()")
        page.reload()
        wait_until(lambda: page.evaluate("defectsOnPage()") >= known)
        page.goto(f"{line.url}/alarms")
        page.locator(OPEN).first.wait_for()
        assert page.locator("li.alarm button").count() == 0, "an observer acts on nothing"
        page.go_back()
        page.locator("html[data-link=live]").wait_for()
        wait_until(lambda: page.evaluate("defectsOnPage()") >= known)
        assert not findings(page)

        otto = logged_in(line.browser, line.url, "Otto Operator", "/alarms")
        eva = logged_in(line.browser, line.url, "Eva Engineer", "/alarms")
        took = [acknowledged_ms(*pair) for pair in ((otto, eva), (eva, otto), (otto, eva), (eva, otto))]
        print(f"an acknowledged alarm on the other page after {', '.join(f'{one:.0f}' for one in took)} ms")

        line.service.terminate()
        line.service.wait()
        page.locator("html[data-link=silent] #banner:not([hidden])").wait_for()
        assert page.locator("#stale").is_visible()
        assert errors == []
