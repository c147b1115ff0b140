"""A simulated line that runs on: its service, its history and its page, each in a process of its own."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.hmi.access.people import People

_SERVICE: Final = """
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
length_m = 2000.0
defects_per_m = 1.2
coil = "B2417-03"
[[source.roll_mark]]
across_mm = 520.0
pitch_mm = 2128.0
[inference]
chain = "cascade"
engines_dir = "{engines_dir}"
deadline_ms = 5000.0
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
[[alarm]]
name = "inclusion"
classes = ["inclusion"]
priority = "urgent"
[[alarm]]
name = "patches"
classes = ["patches"]
priority = "low"
latch = false
[crops]
[journal]
dir = "{folder}/journal"
[wire]
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
commands = "ipc://{folder}/commands"
"""

_HISTORY: Final = """
database = "sqlite:///{folder}/history.sqlite"
[[service]]
name = "top"
publish = "ipc://{folder}/publish"
serve = "ipc://{folder}/serve"
[images]
dir = "{folder}/images"
min_free_mb = 16
"""

_PAGE: Final = """
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

_STARTS_WITHIN_S: Final = 60.0


class DemoLine:
    """Runs from `with` on, until its end or Ctrl-C; `url` is the page's."""

    url = ""

    def __init__(
        self,
        folder: Path,
        person: str,
        password: str,
        line_rate_hz: float = 3000.0,
        engines_dir: Path = Path("engines"),
    ) -> None:
        """folder: for configurations, logs and all that is stored. person: an engineer, who may log in."""
        self._folder = folder.absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {
            "root": Path.cwd(),
            "folder": self._folder,
            "engines_dir": engines_dir.absolute(),
            "line_rate_hz": line_rate_hz,
        }
        for name, text in (("service", _SERVICE), ("history", _HISTORY), ("hmi", _PAGE)):
            (self._folder / f"{name}.toml").write_text(text.format(**about))
        People(self._folder / "people.json").set(person, Role.ENGINEER, password)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        """Start all of it. Raises WireError when the page does not start."""
        with ExitStack() as stack:
            for command, config in (("run", "service"), ("history", "history"), ("hmi", "hmi")):
                log = stack.enter_context((self._folder / f"{config}.log").open("w"))
                process = subprocess.Popen(
                    [sys.executable, "-m", "linewatch.cli", command, self._folder / f"{config}.toml"],
                    stderr=log,
                    env={**os.environ},
                )
                stack.callback(process.wait, 60)
                stack.callback(process.terminate)
            self.url = self._listening()
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def wait(self) -> None:
        """Wait until Ctrl-C."""
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass

    def _listening(self) -> str:
        log, until_s = self._folder / "hmi.log", time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < until_s:
            for line in log.read_text().splitlines():
                if '"listening"' in line:
                    return line.partition('"url": "')[2].partition('"')[0].rstrip("/")
            time.sleep(0.1)
        raise WireError(
            f"the page did not start within {_STARTS_WITHIN_S:g} s, expected a line in {log}; see there why"
        )
