"""A wall clock that is set is noticed, told and alarmed; a shelving lasts as long as was meant."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from bright_strip import write_running_strip
from waiting import wait_until

from linewatch.client import Commander, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.contracts.errors import WireError
from linewatch.daemon import wall_clock
from linewatch.daemon.wall_clock import WallClock, synchronised
from linewatch.files import write_file
from linewatch.wire.schema import AlarmBody

ROOT = Path(__file__).parents[2]
SET_CLOCK = ROOT / "tests/support/set_clock.py"
DAY_S = 86_400.0


def test_only_a_clock_that_was_set_has_stepped() -> None:
    now = {"unix": 0, "steady": 0}
    clock = WallClock(lambda: now["unix"], lambda: now["steady"])
    readings = (60, 60, 0), (61.4, 61, 0), (70, 69.2, 0), (3669.2, 69.2, 3599.2), (69.5, 70, -3600.5)
    for unix_s, steady_s, step_s in readings:
        now["unix"], now["steady"] = round(unix_s * 1e9), round(steady_s * 1e9)
        assert clock.read() == (now["unix"], round(step_s * 1e9))
    assert clock.last_step_ns == round(-3600.5e9)


def test_a_process_that_stood_between_two_readings_saw_no_step() -> None:
    steady_s = iter((0, 0, 9, 10, 10))
    unix_s = iter((100, 109, 110))
    clock = WallClock(lambda: next(unix_s) * 10**9, lambda: next(steady_s) * 10**9)
    assert [clock.read(), clock.read()] == [(100 * 10**9, 0), (110 * 10**9, 0)]


def test_the_kernel_or_the_mark_of_timesyncd_tells_whether_the_clock_is_kept_right(monkeypatch, tmp_path) -> None:
    assert synchronised() in (True, False)
    monkeypatch.setattr(wall_clock.ctypes, "CDLL", lambda _: None)  # has no adjtimex
    monkeypatch.setattr(wall_clock, "_TIMESYNCD", tmp_path / "synchronized")
    assert synchronised() is None
    (tmp_path / "synchronized").touch()
    assert synchronised() is True


@pytest.mark.service
@pytest.mark.heavy
def test_a_clock_that_is_set_by_400_days_is_alarmed_and_ends_no_shelving(tmp_path: Path) -> None:
    config, by_s = write_running_strip(tmp_path), tmp_path / "set"
    by_s.write_text("0")
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, str(SET_CLOCK), str(by_s), "run", str(config)],
            cwd=ROOT,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_until(lambda: _standing(tmp_path) is not None, 60.0)
        with Commander(f"ipc://{tmp_path}/cmd", answer_timeout_s=30.0) as commander:
            commander.shelve("square", 30)
        began_ns = _shelved_until(tmp_path)
        for by_days in (400, 0):
            write_file(by_s, str(by_days * DAY_S).encode())
            wait_until(lambda by=by_days: abs(_shelved_until(tmp_path) - began_ns - by * DAY_S * 1e9) < 0.5e9, 30.0)
            (alarm,) = [one for one in _standing(tmp_path) if one.rule == "clock-stepped"]
            assert alarm.text == "clock-stepped: the clock was set forward by 400.0 days; check what keeps it right"
        with Subscriber(f"ipc://{tmp_path}/pub", f"ipc://{tmp_path}/rep", ["status"]) as wire:
            clock = wait_until(lambda: wire.poll(1.0), 30.0).clock
            assert clock.last_step_s == pytest.approx(-400 * DAY_S, abs=0.5)
    finally:
        service.terminate()
        assert service.wait(60) == 0
    assert (tmp_path / "log").read_text().count("clock_stepped") == 2


def _standing(folder: Path) -> tuple[AlarmBody, ...] | None:
    with suppress(WireError):
        return ask_snapshot(f"ipc://{folder}/rep", 1.0).standing_alarms
    return None


def _shelved_until(folder: Path) -> int:
    held_back = ask_snapshot(f"ipc://{folder}/rep", 5.0).suppressed_or_shelved
    return next(one.shelved_until_unix_ns for one in held_back if one.id == "square")
