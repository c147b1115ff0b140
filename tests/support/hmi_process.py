"""`linewatch hmi` in a process of its own over a service, and Debian's Chromium that looks at it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from linewatch.contracts.access import Role
from linewatch.hmi.access.people import People

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PATIENCE_S = 120.0
PASSWORD = "a password of the mill"
PEOPLE = {"Olga Observer": Role.OBSERVER, "Otto Operator": Role.OPERATOR, "Eva Engineer": Role.ENGINEER}

needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")


class HmiProcess:
    """Started, and listening at `url`. `events` are the lines of its log."""

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "linewatch.cli", "hmi", config],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url: str = wait_until(lambda: self.logged("listening") or self._ended(), PATIENCE_S)[0]["url"].rstrip("/")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines about an event."""
        return [line for line in self.events if line.get("event") == event]

    def end(self) -> int:
        """End it by SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.join()

    def join(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def _ended(self) -> None:
        assert self.process.poll() is None, f"linewatch hmi ended: {self.events}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})
        self.process.stderr.close()


def hmi_config(
    folder: Path,
    publish: str,
    serve: str,
    commands: str | None = None,
    *,
    people: Mapping[str, Role] = PEOPLE,
    more: str = "",
) -> Path:
    """Write a configuration on a free port, and give everybody PASSWORD. more: lines before the first table."""
    people_file = folder / "people.json"
    for name, role in people.items():
        People(people_file).set(name, role, PASSWORD)
    path = folder / "hmi.toml"
    path.write_text(
        f'line_name = "Test line"\ntaxonomy = "{ROOT / "configs" / "taxonomy.toml"}"\n{more}\n'
        f'[service]\npublish = "{publish}"\nserve = "{serve}"\n[listen]\nport = 0\n'
        f'[access]\npeople_file = "{people_file}"\n' + (f'[commands]\ncommands = "{commands}"\n' if commands else "")
    )
    return path


@contextmanager
def running_hmi(config: Path) -> Iterator[HmiProcess]:
    """Run `linewatch hmi`; it must end by itself with exit code 0."""
    running = HmiProcess(config)
    try:
        yield running
    finally:
        code = running.end() if running.process.poll() is None else running.join()
    assert code == 0, running.events


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """Yield a browser of Playwright's. arguments: of Chromium's command line."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        try:
            yield browser
        finally:
            browser.close()


def logged_in(browser: Any, url: str, name: str, path: str = "/", **context: Any) -> Any:
    """Return a page of a new browser session that the person has logged in to. context: options of Playwright's."""
    page = browser.new_context(**context).new_page()
    page.goto(f"{url}/login?next={path}")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(f"{url}{path}")
    return page
