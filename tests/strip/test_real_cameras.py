"""Real services on windows of one simulated strip, joined, stored and shown to a PLC, while all of them are killed.

LINEWATCH_KILLS: how often each of them is killed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from bridge_and_plc import ModbusBridge, Plc, config_for
from bright_strip import LINES, WIDTH, write_running_strip
from forked import linewatch
from history_process import start_history, write_config
from strip_line import ROOT, StripLine, strip_line
from waiting import wait_until

from linewatch.client import Commander
from linewatch.config.history import HistoryServiceSettings, HistorySettings
from linewatch.history.database import reading
from linewatch.history.queries import coils, defects, spans
from linewatch.strip.settings import StripCamera, StripSettings

pytestmark = [pytest.mark.service, pytest.mark.heavy]

KILLS = int(os.environ.get("LINEWATCH_KILLS", "2"))
OVERLAP_PX = 32
MM_PER_PX = 0.5


def write_cameras(line: StripLine) -> None:
    """Write a service for each camera: a window of one strip, which runs on for both."""
    for number, camera in enumerate(line.settings.camera):
        place, left_px = line.of(camera.key), number * (WIDTH - OVERLAP_PX)
        place.mkdir()
        config = write_running_strip(place, length_m=4_000.0)
        text = config.read_text().replace(str(place / "began"), str(line.folder / "began"))
        text = text.replace(
            "[line]\n", f'[line]\ncamera = "{camera.name}"\nacross_offset_mm = {camera.across_offset_mm}\n'
        )
        text = text.replace('type = "simulator"\n', f'type = "simulator"\nstrip_px = {2 * WIDTH - OVERLAP_PX}\n')
        config.write_text(text.replace("length_m =", f"view_offset_px = {left_px}\nlength_m ="))


def run_camera(line: StripLine, camera: str) -> None:
    place = line.of(camera)
    with (place / "log").open("ab") as log:
        line.processes[camera] = linewatch("run", place / "service.toml", streams={1: log.fileno(), 2: log.fileno()})


def has_ended(store: HistorySettings) -> bool:
    with reading(store.database) as connection:
        return any(one.ended_unix_ns is not None for one in coils(connection, "C-77"))


def reached_mm(line: StripLine) -> float:
    now = line.snapshot()
    return now.coil.along_mm if now is not None and now.coil is not None else 0.0


@pytest.mark.timeout(900)
def test_what_history_report_and_plc_read_of_a_line_that_is_killed_again_and_again(tmp_path: Path) -> None:
    dice = random.Random(15)
    cameras = [
        StripCamera(name=f"cam{at}", width_px=WIDTH, across_offset_mm=at * (WIDTH - OVERLAP_PX) * MM_PER_PX)
        for at in range(2)
    ]
    settings = StripSettings.model_validate({"camera": cameras, "strip": {"frame_lines": LINES, "wait_s": 2.0}})
    with strip_line(tmp_path, settings) as line:
        head = f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n'
        line.write(f'[decision]\ngrading = "{ROOT}/configs/grading/example.toml"\n')
        line.config.write_text(head + line.config.read_text())
        write_cameras(line)
        for camera in cameras:
            run_camera(line, camera.key)
        line.start()
        top = HistoryServiceSettings(name="strip", publish=line.publish, serve=line.serve)
        store = HistorySettings(database=f"sqlite:///{tmp_path}/history.sqlite", commit_ms=50.0, service=(top,))
        stored_in = write_config(tmp_path / "history.toml", store)
        history = start_history(stored_in)
        bridge = ModbusBridge(config_for(tmp_path, line, bits="square = 3"))
        try:
            plc = Plc(bridge.port)
            plc.wait_for(state=2)
            with Commander(line.commands, answer_timeout_s=20.0) as commander:
                wait_until(lambda: reached_mm(line) > 500.0)
                commander.start_coil("C-77")
            for _ in range(KILLS):
                for victim in dice.sample(["strip", "top/cam0", "top/cam1"], 3):
                    before_mm = reached_mm(line)
                    wait_until(lambda: reached_mm(line) > before_mm + 1_000.0, 120.0)  # noqa: B023
                    time.sleep(dice.uniform(0.0, 1.0))
                    line.kill(victim)
                    if victim == "top/cam1":
                        plc.wait_for(state=5)  # unhealthy: a share of the width is not inspected
                    line.start() if victim == "strip" else run_camera(line, victim)
            for camera in cameras:  # the last one killed may still be starting, and its share be waited for
                wait_until(lambda: line.snapshot(camera.key), 60.0)  # noqa: B023
            plc.wait_for(state=2)
            with Commander(line.commands, answer_timeout_s=20.0) as commander:
                commander.end_coil("C-77")
            wait_until(lambda: (now := line.snapshot()) and now.coil and now.coil.coil != "C-77", 120.0)
            wait_until(lambda: has_ended(store), 60.0)
        finally:
            bridge.end()
            history.send_signal(signal.SIGTERM)
            history.wait(60)
        assert line.kill("strip", signal.SIGTERM) == 0
        check_record(line)
        check_history(line, store, stored_in)


def check_record(line: StripLine) -> None:
    """Every line once, every defect opened and closed once, and the seam joined."""
    record = [one for one in line.record() if one.get("coil") == "C-77"]
    frames = [one for one in record if one["topic"] == "frame"]
    assert frames[0]["first_line"] == 0
    for before, frame in pairwise(frames):
        assert frame["first_line"] == before["first_line"] + before["lines"]
    steps = Counter(
        (one["id"], one["state"]) for one in record if one["topic"] == "defect" and one["state"] != "updated"
    )
    assert max(steps.values()) == 1
    assert {name for name, state in steps if state == "opened"} == {name for name, state in steps if state == "closed"}
    begun, ended = [one for one in record if one["topic"] == "coil"]
    assert (begun["state"], ended["state"]) == ("started", "ended")
    assert ended["grade"] is not None
    assert ended["missed_lines_by_cause"].get("restart"), "the cameras' services were down for a while"


def check_history(line: StripLine, store: HistorySettings, config: Path) -> None:
    """History and report read the joined record as they read a camera's."""
    with reading(store.database) as connection:
        (passage,) = coils(connection, "C-77")
        assert (passage.side, passage.camera) == ("top", "strip")
        assert 0 < time.time() - passage.begun_unix_ns / 1e9 < 3_600
        stored = [row.span for row in spans(connection, passage.passage)]
        for before, span in pairwise(stored):
            assert span.first_line == before.first_line + before.lines
        assert defects(connection, [passage.passage], None, after=None, limit=10)
    page = line.folder / "C-77.html"
    report = [sys.executable, "-m", "linewatch.cli", "report", "C-77", "--history", str(config), "--html", str(page)]
    done = subprocess.run(report, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "C-77" in page.read_text()
