"""A service that is killed at any point between the end of a coil and its successor's first frame tells both once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from bright_strip import write_running_strip
from forked import Forked
from killed_service import start_service
from told_lines import check_lines, journaled
from waiting import wait_until

from linewatch.client import Commander, Lost, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.client.requests import NoAnswerError
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import AlarmMessage, CoilMessage, FrameMessage, Snapshot

pytestmark = pytest.mark.service

PATIENCE_S = 60.0


@contextmanager
def service(config: Path, kill_at: int | None) -> Iterator[Forked]:
    process = start_service(config, kill_at)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def inspecting(config: Path) -> Snapshot | None:
    """Return the state if this start of the service has told a frame."""
    with suppress(WireError):
        now = ask_snapshot(f"ipc://{config.parent}/rep", 0.3)
        return now if now.sequences["frame"] else None
    return None


def change_coil(config: Path, process: Forked, coil: str) -> bool:
    """Start the next coil in a service that dies by it; return whether that was ordered.

    It is not where the service dies by the order of the one before, which had not been journaled and goes on.
    """
    wait_until(lambda: process.poll() is not None or inspecting(config), PATIENCE_S)
    if is_ordered := process.poll() is None:
        with Commander(f"ipc://{config.parent}/cmd", answer_timeout_s=2.0) as commander, suppress(NoAnswerError):
            commander.start_coil(coil)
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    return is_ordered


def kill_at_each(config: Path, points: range) -> tuple[list[str], list]:
    """Kill a service at each of these points, and run a last one to its end.

    Return the coils that were ordered, and all that a subscriber heard up to some frames of the last.
    """
    coils, heard = ["SIM"], []
    folder = config.parent
    with Subscriber(f"ipc://{folder}/pub", f"ipc://{folder}/rep", ["frame", "coil", "alarm"], since="journal") as ear:
        for point in points:
            with service(config, kill_at=point) as process:
                if change_coil(config, process, f"C-{point}"):
                    coils.append(f"C-{point}")
        with service(config, kill_at=None) as process:
            epoch = wait_until(lambda: inspecting(config), PATIENCE_S).epoch

            def hears_the_last() -> bool:
                if (message := ear.poll(1.0)) is not None:
                    heard.append(message)
                return isinstance(message, FrameMessage) and message.epoch == epoch and message.ordinal > 20

            wait_until(hears_the_last, PATIENCE_S)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
    return coils, heard


def check(config: Path, coils: list[str], heard: list) -> None:
    frames, notices, alarms = (journaled(config, topic) for topic in ("frame", "coil", "alarm"))
    check_lines(frames, notices)
    told = [(one.coil, one.state.value) for one in notices]
    assert told == [(coil, state) for coil in coils for state in ("started", "ended")]
    begun = [one for one in notices if one.state == "started"]
    for before, coil in pairwise(begun):
        lines = sum(frame.lines for frame in frames if (frame.passage, frame.coil) == (before.passage, before.coil))
        assert coil.source_line == before.source_line + lines, "no strip lies between two coils, and none in both"
    standing: set[str] = set()
    for alarm in alarms:
        if alarm.change == "active":
            assert alarm.id not in standing, "raised twice"
            standing.add(alarm.id)
        elif not alarm.retain:
            standing.remove(alarm.id)
    assert not [one for one in heard if isinstance(one, Lost)]
    for kind, kept in ((FrameMessage, frames), (CoilMessage, notices), (AlarmMessage, alarms)):
        of_kind = [one for one in heard if isinstance(one, kind)]
        assert of_kind == kept[: len(of_kind)], "heard once each, in the journal's order"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "points",
    [pytest.param(range(2, 3), id="behind the write"), pytest.param(range(12), marks=pytest.mark.heavy, id="all")],
)
def test_a_kill_at_any_point_of_a_change_of_coil_leaves_one_record_of_each(tmp_path: Path, points: range) -> None:
    """Behind the first write of the journal, coils of an earlier version had ended and none had begun."""
    config = write_running_strip(tmp_path, encoder=True, length_m=4_000.0)
    check(config, *kill_at_each(config, points))
