"""Whatever kills the history or the service: everything that was decided is stored, and once."""

import random
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest
import sqlalchemy as sa
from history_process import PATIENCE_S, let_run, start_history, stored_frames, wait_for, write_config

from linewatch.history.database import reading
from linewatch.history.queries import coils, defects, gaps, masks, spans
from linewatch.history.tables import ALARM, COIL, DEFECT, MASK
from linewatch.review.from_history import read_passage

pytestmark = pytest.mark.service

KILLS = 4


class _Mill(threading.Thread):
    """Tells the service to decide, coil after coil of one id, until stopped; kills and restarts it now and then."""

    def __init__(self, service, restarts):
        super().__init__()
        self.service, self.stop = service, threading.Event()
        self.restart_at = set(random.Random(3).sample(range(1, 20), restarts))
        self.passages = []  # frames of each
        self.ended = []
        self.alarms = 0

    def run(self):
        dice, turn = random.Random(5), 0
        while not self.stop.is_set():
            self.service.tell("coil started")
            self.passages.append(0)
            for _ in range(dice.randrange(1, 8)):
                count = dice.randrange(1, 12)
                self.service.tell(f"frames {count} {dice.randrange(1, 40)}")
                self.service.tell("alarm")
                self.service.tell("roll")
                self.passages[-1] += count + 2
                self.alarms += 1
                self.stop.wait(0.1)
            turn += 1
            if turn in self.restart_at:
                self.service.restart()  # the coil has no end then
            else:
                self.service.tell("coil ended")
                self.ended.append(len(self.passages) - 1)


def test_nothing_is_lost_or_doubled_when_the_history_is_killed_at_random_points(start_service, history_of, tmp_path):
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    mill = _Mill(service, restarts=3)
    mill.start()
    dice = random.Random()
    try:
        for _ in range(KILLS):
            process = start_history(config)
            let_run(process, dice.uniform(0.5, 2.5))
            process.kill()
            process.wait()
    finally:
        mill.stop.set()
        mill.join()
    expected = sum(mill.passages)
    opened = config.with_suffix(".log").read_text().count("history_opened")
    process = start_history(config)
    wait_for(
        lambda: config.with_suffix(".log").read_text().count("history_opened") > opened
    )  # all may be stored already
    wait_for(lambda: stored_frames(settings.database) >= expected)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0

    with reading(settings.database) as connection:
        assert gaps(connection) == []
        passages = coils(connection, "C1", limit=10_000)[::-1]
        assert len(passages) == len(mill.passages) > 5
        frames = connection.execute(sa.select(COIL.c.frames).order_by(COIL.c.epoch, COIL.c.ordinal)).scalars().all()
        assert frames == mill.passages
        for told, row in zip(frames, passages, strict=True):
            found = defects(connection, [row.passage], limit=10_000)
            record = read_passage(connection, row.passage)
            assert len(record.roll_marks) == 1
            # A frame of `alarm` or `roll` has no defect; every defect has one mask, every roll names a mark.
            assert row.alarms + len(record.periodic) + len(found) == told
            assert row.defects_by_class == ({"scratch": len(found)} if found else {})
            for defect in found[:3]:
                ((_, mask),) = masks(connection, [defect.number])
                assert len(mask.runs) > 0
            (stored,) = spans(connection, row.passage)
            assert (stored.span.lines, row.inspected_mm) == (256 * told, 256.0 * told)
        assert sum(row.ended_unix_ns is not None for row in passages) == len(mill.ended)
        assert connection.execute(sa.select(sa.func.count()).select_from(ALARM)).scalar() == mill.alarms
        count = [connection.execute(sa.select(sa.func.count()).select_from(t)).scalar() for t in (DEFECT, MASK)]
        assert count == [expected - 2 * mill.alarms] * 2  # with each alarm a roll


def test_two_histories_of_one_service_in_one_database_do_not_both_store(start_service, history_of, tmp_path):
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    service.tell("coil started")
    first = start_history(config)
    service.tell("frames 5 1")
    wait_for((tmp_path / "history.sqlite").exists)
    second = start_history(config)
    total, ended = 5, None
    deadline = time.monotonic() + PATIENCE_S
    while ended is None and time.monotonic() < deadline:
        service.tell("frames 1 1")
        total += 1
        with suppress(subprocess.TimeoutExpired):
            first.wait(0.05)
        ended = next((process for process in (first, second) if process.poll() is not None), None)
    assert ended is not None
    assert ended.returncode == 8
    assert "another process stores" in config.with_suffix(".log").read_text()
    other = first if ended is second else second
    wait_for(lambda: stored_frames(settings.database) == total)
    other.send_signal(signal.SIGTERM)
    other.wait(PATIENCE_S)
    with reading(settings.database) as connection:
        (row,) = coils(connection)
        assert len(defects(connection, [row.passage], limit=10_000)) == total


def test_a_gap_that_cannot_be_filled_is_a_row(start_service, history_of, tmp_path):
    """The journal keeps 8 MB: what fell out of it while nobody listened is gone, and told."""
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    process = start_history(config)
    service.tell("coil started")
    service.tell("frames 3 2")
    wait_for(lambda: stored_frames(settings.database) == 3)
    process.kill()
    process.wait()
    for _ in range(12):
        service.tell("frames 20 4000")
    service.tell("coil ended")
    for _ in range(2):  # the second start finds nothing more to tell
        process = start_history(config)
        wait_for(lambda: _ended(settings.database))
        let_run(process, 0.5)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    with reading(settings.database) as connection:
        found = {gap.topic: gap for gap in gaps(connection)}
        (row,) = coils(connection)
        stored = connection.execute(sa.select(COIL.c.frames)).scalar()
    assert len(gaps_of(settings.database)) == len(found)
    assert found["defect"].first == 3
    assert found["defect"].end > 3
    lost_frames = found["frame"].end - found["frame"].first if "frame" in found else 0
    assert stored == 243 - lost_frames
    assert row.unrecorded_mm == 256.0 * lost_frames


def gaps_of(url):
    with reading(url) as connection:
        return gaps(connection)


def _ended(url):
    with reading(url) as connection:
        return any(row.ended_unix_ns for row in coils(connection))


def test_a_new_journal_is_a_gap_and_its_coils_are_others(start_service, history_of, tmp_path):
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    process = start_history(config)
    for command in ("coil started", "frames 9 2", "coil ended"):
        service.tell(command)
    wait_for(lambda: stored_frames(settings.database) == 9)
    service.kill()
    subprocess.run(["rm", "-r", str(tmp_path / "journal")], check=True)
    service.start()
    service.tell("coil started")
    service.tell("frames 4 2")
    wait_for(lambda: stored_frames(settings.database) == 13)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)
    with reading(settings.database) as connection:
        assert [gap.reason for gap in gaps(connection)] == ["the service began a new journal"]
        newer, older = coils(connection)
        assert (older.coil, newer.coil) == ("C1", "C1")
        assert (older.passed_mm, newer.passed_mm) == (9 * 256.0, 4 * 256.0)
        names = [{d.defect.id for d in defects(connection, [row.passage])} for row in (newer, older)]
        assert names[0] < names[1]  # named alike on the wire, kept apart here


def test_a_new_journal_that_has_run_past_the_old_one_is_noticed(start_service, history_of, tmp_path):
    """Its sequences look as if they went on: only the journal's identity tells."""
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    for command in ("coil started", "frames 9 2", "coil ended"):
        service.tell(command)
    process = start_history(config)
    wait_for(lambda: stored_frames(settings.database) == 9)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)
    service.kill()
    subprocess.run(["rm", "-r", str(tmp_path / "journal")], check=True)
    service.start()
    for command in ("coil started", "frames 20 2", "coil ended", "coil started", "frames 4 2"):
        service.tell(command)
    process = start_history(config)
    wait_for(lambda: stored_frames(settings.database) == 33)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)
    with reading(settings.database) as connection:
        assert {gap.reason for gap in gaps(connection)} == {"the service began a new journal"}
        lengths = [row.inspected_mm for row in coils(connection)]
        assert lengths == [4 * 256.0, 20 * 256.0, 9 * 256.0]
