"""A service that is killed at any moment goes on with its coil: no line of strip is in two passages, and none in none.

LINEWATCH_KILLS: how often it is killed; some seconds each.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from bright_strip import write_running_strip
from forked import Forked, linewatch
from history_process import start_history, stored_frames, wait_for, write_config
from told_lines import check_lines, journaled
from waiting import wait_until

from linewatch.client import Commander, Lost, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.client.requests import RefusedError
from linewatch.config.history import HistoryServiceSettings, HistorySettings
from linewatch.contracts.errors import WireError
from linewatch.contracts.frame import Cause
from linewatch.history.database import reading
from linewatch.history.queries import coils, spans
from linewatch.history.tables import ALARM
from linewatch.wire.schema import AlarmMessage, FrameMessage, Snapshot

pytestmark = pytest.mark.service

KILLS = int(os.environ.get("LINEWATCH_KILLS", "2"))
PATIENCE_S = 90.0


@contextmanager
def service(config: Path) -> Iterator[Forked]:
    """A service that is killed at the end."""
    with (config.parent / "log").open("ab") as log:
        process = linewatch("run", config, streams={2: log.fileno()})
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def snapshot(config: Path) -> Snapshot | None:
    with suppress(WireError):
        return ask_snapshot(f"ipc://{config.parent}/rep", 0.5)
    return None


def inspecting(config: Path, coil: str | None = None, beyond_mm: float = 0.0) -> Snapshot:
    """Return the state as soon as a coil is inspected beyond a place."""

    def found() -> Snapshot | None:
        now = snapshot(config)
        there = now is not None and now.coil is not None and now.coil.along_mm > beyond_mm
        return now if there and (coil is None or now.coil.coil == coil) else None

    return wait_until(found, PATIENCE_S)


def end(process: Forked, by: signal.Signals = signal.SIGINT) -> None:
    """End a service; by SIGTERM it is stopped as `systemctl restart` does, and its coil does not end."""
    process.send_signal(by)
    assert process.wait(60) == 0


@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.parametrize(
    "encoder",
    [pytest.param(True, id="encoder"), pytest.param(False, id="positions of the source", marks=pytest.mark.heavy)],
)
def test_a_commanded_coil_goes_on_over_kills_and_is_graded_once(tmp_path: Path, encoder: bool) -> None:
    """The strip runs on meanwhile. Journal, history and a subscriber tell the same passages."""
    config = write_running_strip(tmp_path, encoder=encoder, length_m=4_000.0)
    endpoints = f"ipc://{tmp_path}/pub", f"ipc://{tmp_path}/rep"
    top = HistoryServiceSettings(name="top", publish=endpoints[0], serve=endpoints[1])
    settings = HistorySettings(database=f"sqlite:///{tmp_path}/history.sqlite", commit_ms=50.0, service=(top,))
    history = start_history(write_config(tmp_path / "history.toml", settings))
    with Subscriber(*endpoints, ["frame", "coil", "alarm"], since="journal") as subscriber:
        heard = kill_and_kill(config, subscriber)
    frames, notices, alarms = (journaled(config, topic) for topic in ("frame", "coil", "alarm"))
    check_lines(frames, notices)
    assert [(notice.coil, notice.state.value) for notice in notices] == [
        ("SIM", "started"),
        ("SIM", "ended"),
        ("C-77", "started"),
        ("C-77", "ended"),
    ]
    raised = [one for one in alarms if one.rule == "latched" and one.change == "active" and one.coil == "C-77"]
    assert len(raised) == 1
    assert not [one for one in heard if isinstance(one, Lost)]
    told = [one for one in heard if isinstance(one, FrameMessage)]
    assert told == frames[: len(told)]
    with service(config):  # from which the history fetches what it missed of the end
        wait_for(lambda: stored_frames(settings.database) > len(frames))
    history.send_signal(signal.SIGTERM)
    assert history.wait(PATIENCE_S) == 0
    with reading(settings.database) as connection:
        (passage,) = coils(connection, "C-77")
        assert passage.ended_unix_ns is not None
        assert passage.alarms >= 2
        assert len(coils(connection)) == 3
        stored = [row.span for row in spans(connection, passage.passage)]
        for before, span in pairwise(stored):
            assert span.first_line == before.first_line + before.lines
        assert stored[-1].along_mm[1] == pytest.approx(notices[-1].along_mm, abs=0.01)
        assert Cause.RESTART in {span.cause for span in stored}
        before = sa.select(sa.func.count()).select_from(ALARM).where(ALARM.c.epoch <= alarms[-1].epoch)
        assert connection.execute(before).scalar() == len(alarms)


def kill_and_kill(config: Path, subscriber: Subscriber) -> list:
    """Start C-77, kill the service again and again, restart it in order once, end it.

    Return what the subscriber heard until shortly before the end.
    """
    dice, heard = random.Random(), []
    with service(config):
        inspecting(config)
        with Commander(f"ipc://{config.parent}/cmd", answer_timeout_s=20.0) as commander:
            commander.start_coil("C-77")
        inspecting(config, "C-77", beyond_mm=200.0)
        reached = wait_until(lambda: _standing(config, "latched"), PATIENCE_S)
        time.sleep(dice.uniform(0.0, 1.0))
    for kill in range(KILLS - 1):
        with service(config) as process:
            reached = went_on(config, reached)
            time.sleep(dice.uniform(0.0, 1.0))
            if kill == 0:
                end(process, signal.SIGTERM)
    with service(config) as last:
        now = went_on(config, reached)
        assert _standing(config, "latched"), "raised in the first run, and never acknowledged"
        wait_until(lambda: _standing(config, "restart-gap"), PATIENCE_S)
        with (
            Commander(f"ipc://{config.parent}/cmd", answer_timeout_s=20.0) as commander,
            pytest.raises(RefusedError, match="has passed or is ordered already"),
        ):
            commander.start_coil("C-77")
        while (message := subscriber.poll(1.0)) is not None:
            heard.append(message)
            if isinstance(message, FrameMessage) and message.ordinal > 20 and message.epoch == now.epoch:
                break
        end(last)
    return heard


def went_on(config: Path, before: Snapshot) -> Snapshot:
    """Return the state as soon as it tells of strip that passed unseen since `before`."""

    def found() -> Snapshot | None:
        now = snapshot(config)
        if now is None or now.coil is None or now.coil.coil != "C-77":
            return None
        unseen, unseen_before = (one.coil.missed_lines_by_cause.get("restart", 0) for one in (now, before))
        return now if unseen > unseen_before else None

    return wait_until(found, PATIENCE_S)


def _standing(config: Path, rule: str) -> Snapshot | None:
    now = snapshot(config)
    return now if now is not None and rule in {alarm.rule for alarm in now.standing_alarms} else None


@pytest.mark.timeout(300)
def test_without_positions_the_clock_tells_and_an_order_that_waits_is_carried_out(tmp_path: Path) -> None:
    """A folder of images begins anew with each start; what was ordered for a place farther on comes there, once."""
    config = write_running_strip(tmp_path, source="folder", frames=600)
    with service(config):
        first = inspecting(config, beyond_mm=300.0)
        with Commander(f"ipc://{tmp_path}/cmd", answer_timeout_s=20.0) as commander:
            place_mm = first.coil.along_mm + 5_000.0
            commander.start_coil("C-2", at_mm=place_mm, token="order-of-C-2")
    with service(config) as second:
        inspecting(config, "C-2", beyond_mm=100.0)
        wait_until(lambda: _standing(config, "restart-gap"), PATIENCE_S)
        with Commander(f"ipc://{tmp_path}/cmd", answer_timeout_s=20.0) as commander:
            commander.start_coil("C-2", at_mm=place_mm, token="order-of-C-2")  # carried out: the answer is repeated
        end(second)
    frames, notices = journaled(config, "frame"), journaled(config, "coil")
    check_lines(frames, notices)
    assert [notice.coil for notice in notices if notice.state == "started"] == ["strip", "C-2"]
    assert any("by clock and line rate" in note for note in notices[1].notes)
    alarms = [one for one in journaled(config, "alarm") if isinstance(one, AlarmMessage)]
    (gap,) = [one for one in alarms if one.rule == "restart-gap"]
    assert "by clock and line rate" in gap.text
    assert gap.retain, "it outlives the coil until somebody acknowledges it"
