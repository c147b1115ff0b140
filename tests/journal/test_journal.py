"""The journal keeps records in order and within its size limit, over restarts of the service."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import linewatch
from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.record import Record, RecordSpan
from linewatch.journal.journal import Journal

ALL_BYTES = 1 << 40


def journal(folder: Path, **changes: object) -> Journal:
    return Journal(JournalSettings(dir=folder / "journal", **{"max_mb": 8, "segment_mb": 1} | changes))


def frame(epoch: int, sequence: int, payload: bytes = b"") -> Record:
    return Record(epoch, "frame", sequence, b'{"n":%d}' % sequence, payload)


def alarm(epoch: int, sequence: int, name: str, state: str) -> Record:
    return Record(epoch, "alarm", sequence, f'{{"id":"{name}","state":"{state}"}}'.encode(), b"")


def test_what_was_appended_is_read_back_from_any_sequence(tmp_path):
    with journal(tmp_path) as it:
        wanted = [frame(it.epoch, n, bytes([n])) for n in range(20)]
        for record in wanted:
            it.append([record, alarm(it.epoch, record.sequence, "a", "cleared")], sync=False)
        for first in (0, 7, 19, 20):
            assert it.read(it.epoch, "frame", first, ALL_BYTES) == wanted[first:]
        assert it.span(it.epoch, "frame") == RecordSpan(0, 20)
        assert it.span(it.epoch, "defect") == RecordSpan(0, 0)
        assert it.span(it.epoch + 1, "frame") is None


def test_several_records_of_a_topic_in_one_commit_are_read_from_the_middle(tmp_path):
    with journal(tmp_path) as it:
        wanted = [frame(it.epoch, n) for n in range(9)]
        for start in (0, 3, 6):
            it.append(wanted[start : start + 3], sync=False)
        for first in range(9):
            assert it.read(it.epoch, "frame", first, ALL_BYTES) == wanted[first:]


def test_a_read_is_bounded_but_never_empty_when_there_is_something(tmp_path):
    with journal(tmp_path) as it:
        wanted = [frame(it.epoch, n, bytes(1000)) for n in range(5)]
        it.append(wanted, sync=False)
        assert it.read(it.epoch, "frame", 0, 1) == wanted[:1]
        assert it.read(it.epoch, "frame", 1, 2500) == wanted[1:3]


def test_each_start_is_the_next_epoch_and_serves_the_ones_before(tmp_path):
    for epoch in (1, 2, 3):
        with journal(tmp_path) as it:
            assert it.epoch == epoch
            it.append([frame(epoch, 0)], sync=True)
    with journal(tmp_path) as it:
        assert it.epochs() == [1, 2, 3, 4]
        assert [it.read(epoch, "frame", 0, ALL_BYTES) for epoch in (1, 2, 3)] == [[frame(e, 0)] for e in (1, 2, 3)]
        assert it.recovery.torn_bytes == 0


def test_starts_that_decide_nothing_leave_no_files_behind(tmp_path):
    with journal(tmp_path) as it:
        it.append([frame(1, 0)], sync=True)
    for _ in range(10):
        with journal(tmp_path) as it:
            pass
    assert it.epoch == 11
    assert len(list((tmp_path / "journal").glob("*.segment"))) == 2


def test_the_oldest_segments_go_and_the_span_says_so(tmp_path):
    with journal(tmp_path) as it:
        for n in range(40):
            it.append([frame(it.epoch, n, bytes(400_000)), alarm(it.epoch, n, f"a{n}", "cleared")], sync=False)
            assert it.size_bytes <= 8 << 20
        on_disk = sum(path.stat().st_size for path in (tmp_path / "journal").glob("*.segment"))
        span = it.span(it.epoch, "frame")
        assert on_disk == it.size_bytes <= 8 << 20
        assert 0 < span.oldest < 40 == span.next
        assert [r.sequence for r in it.read(it.epoch, "frame", 0, ALL_BYTES)] == list(range(span.oldest, 40))
    with journal(tmp_path) as it:
        after = it.span(1, "frame")
        assert span.oldest <= after.oldest < after.next == 40
        assert [r.sequence for r in it.read(1, "frame", 0, ALL_BYTES)] == list(range(after.oldest, 40))


def test_a_topic_that_was_silent_since_the_oldest_segment_went_has_lost_nothing(tmp_path):
    with journal(tmp_path) as it:
        it.append([alarm(1, 0, "a", "raised"), alarm(1, 1, "a", "cleared")], sync=False)
        for n in range(40):
            it.append([frame(1, n, bytes(400_000))], sync=False)
        assert it.span(1, "alarm") == RecordSpan(2, 2)
        assert it.read(1, "alarm", 0, ALL_BYTES) == []


def test_an_alarm_stands_until_it_is_cleared_through_restarts_and_after_its_segment_went(tmp_path):
    with journal(tmp_path) as it:
        it.append([alarm(1, 0, "gone", "raised"), alarm(1, 1, "stays", "raised")], sync=True)
        it.append([alarm(1, 2, "gone", "cleared")], sync=True)
    for epoch in (2, 3):
        with journal(tmp_path) as it:
            assert it.retained_alarms() == [alarm(1, 1, "stays", "raised")]
            for n in range(40):
                it.append([frame(epoch, n, bytes(400_000))], sync=False)
            assert it.epochs() == [epoch]
    with journal(tmp_path) as it:
        assert it.retained_alarms() == [alarm(1, 1, "stays", "raised")]
        it.append([alarm(4, 0, "stays", "cleared")], sync=True)
        assert it.retained_alarms() == []
    with journal(tmp_path) as it:
        assert it.retained_alarms() == []


def test_a_second_process_is_refused_and_told_who_holds_the_journal(tmp_path):
    path = Path(linewatch.__file__).parents[1]
    with journal(tmp_path) as it:
        second = subprocess.run(
            [sys.executable, Path(__file__).parents[1] / "support" / "journal_writer.py", tmp_path / "journal"],
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"is in use by process {os.getpid()}; each service needs its own journal" in second.stderr
        assert second.stderr.strip().endswith("stop that process, or set another [journal] dir")
        it.append([frame(1, 0)], sync=True)
    with journal(tmp_path) as it:
        assert it.epoch == 2


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(JournalError, match="must exist, be writable by the service"):
        journal(tmp_path).__enter__()


def test_group_commit_syncs_once_what_is_due(tmp_path):
    clock = [0]
    it = Journal(JournalSettings(dir=tmp_path, group_commit_ms=50.0), now_ns=lambda: clock[0])
    with it:
        syncs = []
        it.sync = lambda: (syncs.append(clock[0]), Journal.sync(it))  # type: ignore[method-assign]
        it.sync_if_due(10**12)
        it.append([frame(1, 0)], sync=False)
        clock[0] = 20_000_000
        it.append([frame(1, 1)], sync=False)
        it.sync_if_due(49_999_999)
        assert syncs == []
        clock[0] = 50_000_000
        it.sync_if_due(50_000_000)
        it.sync_if_due(60_000_000)
        assert syncs == [50_000_000]


def test_a_reader_in_another_thread_sees_only_whole_records_in_order(tmp_path):
    with journal(tmp_path) as it:
        wrong, done = [], threading.Event()

        def follow() -> None:
            following = 0
            while not (done.is_set() and following >= it.span(1, "frame").next):
                for record in it.read(1, "frame", following, 100_000):
                    if record.sequence < following or record != frame(1, record.sequence, bytes(30_000)):
                        wrong.append(record)
                    following = record.sequence + 1

        reader = threading.Thread(target=follow)
        reader.start()
        for n in range(600):
            it.append([frame(1, n, bytes(30_000))], sync=False)
        done.set()
        reader.join(30)
        assert not reader.is_alive()
        assert wrong == []


step = st.one_of(
    st.tuples(st.just("append"), st.lists(st.sampled_from(["frame", "defect", "coil"]), min_size=1, max_size=4)),
    st.tuples(st.just("restart"), st.none()),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(step, max_size=40))
def test_it_answers_as_a_list_would_for_what_it_still_keeps(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("model")
    it = journal(folder)
    it.__enter__()
    model: dict[tuple[int, str], list[Record]] = {}
    for action, topics in steps:
        if action == "restart":
            it.__exit__(None, None, None)
            it = journal(folder)
            it.__enter__()
            continue
        records = []
        for topic in topics:
            known = model.setdefault((it.epoch, topic), [])
            known.append(Record(it.epoch, topic, len(known), b"{}", bytes(150_000)))
            records.append(known[-1])
        it.append(records, sync=False)
    assert it.size_bytes <= 8 << 20
    for (epoch, topic), known in model.items():
        span = it.span(epoch, topic)
        kept = known[span.oldest :] if span else []
        assert span is None or span.next == len(known)
        assert it.read(epoch, topic, 0, ALL_BYTES) == kept
        assert epoch < it.epoch - len(it.epochs()) or span is not None or it.epochs()[0] > epoch
    it.__exit__(None, None, None)


def test_what_commands_brought_and_retained_alarms_outlive_segments_and_restarts(tmp_path):
    """A shelved rule is retained too, and a command's older record does not bring its alarm back."""

    def record(n, name, retain, token=None):
        header = {"id": name, "state": "cleared", "retain": retain, "command": token and {"token": token}}
        return Record(1, "alarm", n, json.dumps(header).encode(), b"")

    acked, over = record(0, "a", True, "t1"), record(1, "a", False)
    shelf = record(2, "rule", True, "t2")
    with Journal(JournalSettings(dir=tmp_path, max_mb=8, segment_mb=1)) as it:
        for told in (acked, over, shelf):
            it.append([told], sync=True)
        for n in range(40):
            it.append([Record(1, "frame", n, b"{}", bytes(400_000))], sync=False)
        assert it.read(1, "alarm", 0, 1 << 30) == [], "their segment is gone"
    for _ in range(2):
        with Journal(JournalSettings(dir=tmp_path, max_mb=8, segment_mb=1)) as it:
            assert it.retained_alarms() == [shelf]
            assert it.commanded() == [acked, shelf]
