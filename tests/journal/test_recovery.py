"""After a kill, a torn write or a full disk the journal holds every appended record and nothing else."""

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_writer import commit

import linewatch
from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.record import Record
from linewatch.journal.journal import Journal
from linewatch.journal.segment import Entry, EntryKind, pack_commit, pack_head

pytestmark = pytest.mark.service

ALL_BYTES = 1 << 40
WRITER = Path(__file__).parents[1] / "support" / "journal_writer.py"


def journal(folder: Path) -> Journal:
    return Journal(JournalSettings(dir=folder, max_mb=8, segment_mb=1))


def frame(epoch: int, sequence: int, size: int = 0) -> Record:
    return Record(epoch, "frame", sequence, b'{"n":%d}' % sequence, bytes(size))


def test_after_sigkill_nothing_that_was_appended_is_missing_and_no_alarm_is_lost_or_doubled(tmp_path):
    dice = random.Random(20261121)
    standing: list[Record] = []  # as the commits that reached the disk say
    for cycle in range(1, 13):
        writer = subprocess.Popen(
            [sys.executable, WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(linewatch.__file__).parents[1])},
        )
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(dice.randrange(2, 150))]
        writer.kill()
        told += [line for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        with journal(tmp_path) as it:
            epoch = it.epoch - 1
            assert epoch == 2 * cycle - 1
            span = it.span(epoch, "frame")
            assert span.next >= int(told[-1]) + 1, "what was told was appended before"
            alarms = 0
            expected: dict[str, list[Record]] = {"frame": [], "defect": [], "alarm": []}
            for ordinal in range(span.next):
                records, alarms = commit(epoch, ordinal, alarms)
                for record in records:
                    expected[record.topic].append(record)
            for topic, records in expected.items():
                kept = it.span(epoch, topic)
                assert kept.next == len(records), "a commit is kept as a whole"
                assert it.read(epoch, topic, 0, ALL_BYTES) == records[kept.oldest :]
            if len(expected["alarm"]) % 2:
                standing.append(expected["alarm"][-1])
            assert it.retained_alarms() == standing


def test_a_tail_torn_at_any_byte_is_cut_off_and_reported(tmp_path):
    whole = tmp_path / "whole"
    with journal(whole) as it:
        it.append([frame(1, 0)], sync=True)
        kept_bytes = it.size_bytes
        it.append([frame(1, 1), Record(1, "alarm", 0, b'{"id":"a","state":"raised"}', b"")], sync=True)
        size = it.size_bytes
    for end in range(kept_bytes, size):
        torn = tmp_path / "torn"
        shutil.copytree(whole, torn)
        with next(torn.glob("*.segment")).open("r+b") as file:
            file.truncate(end)
        with journal(torn) as it:
            assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]
            assert it.retained_alarms() == []
            assert (it.recovery.kept_bytes, it.recovery.torn_bytes) == (kept_bytes, end - kept_bytes)
            it.append([frame(2, 0)], sync=True)
            assert it.read(2, "frame", 0, ALL_BYTES) == [frame(2, 0)]
        shutil.rmtree(torn)


def test_a_segment_torn_within_its_first_bytes_leaves_the_one_before_in_force(tmp_path):
    whole = tmp_path / "whole"
    raised = Record(1, "alarm", 0, b'{"id":"a","state":"raised"}', b"")
    with journal(whole) as it:
        it.append([raised], sync=True)
    keep = next(whole.glob("*.segment")).read_bytes()
    with journal(whole) as it:
        pass
    start = (whole / "0000000002-000000.segment").read_bytes()
    for end in range(len(start)):
        torn = tmp_path / "torn"
        shutil.copytree(whole, torn)
        (torn / "0000000001-000000.segment").write_bytes(keep)
        (torn / "0000000002-000000.segment").write_bytes(start[:end])
        with journal(torn) as it:
            assert it.epoch == 3
            assert it.retained_alarms() == [raised]
        shutil.rmtree(torn)


def test_any_flipped_bit_in_the_tail_is_found(tmp_path):
    whole = tmp_path / "whole"
    with journal(whole) as it:
        it.append([frame(1, 0)], sync=True)
        kept_bytes = it.size_bytes
        it.append([frame(1, 1)], sync=True)
        size = it.size_bytes
    for at in range(kept_bytes, size):
        torn = tmp_path / "torn"
        shutil.copytree(whole, torn)
        path = next(torn.glob("*.segment"))
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)
        with journal(torn) as it:
            assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]
            assert it.recovery.torn_bytes == size - kept_bytes
        shutil.rmtree(torn)


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_cut_off(tmp_path):
    with journal(tmp_path) as it:
        it.append([frame(1, 0)], sync=True)
    with next(tmp_path.glob("*.segment")).open("ab") as file:
        file.write(bytes(4096))
    with journal(tmp_path) as it:
        assert it.recovery.torn_bytes == 4096
        assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]


def test_damage_in_an_older_segment_costs_only_what_lies_behind_it_there(tmp_path):
    with journal(tmp_path) as it:
        for n in range(6):
            it.append([frame(1, n, 400_000)], sync=False)
        assert len(list(tmp_path.glob("*.segment"))) == 3
    path = tmp_path / "0000000001-000001.segment"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with journal(tmp_path) as it:
        assert [record.sequence for record in it.read(1, "frame", 0, ALL_BYTES)] == [0, 1, 2, 4, 5]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("dice", range(12))
def test_a_flipped_bit_costs_its_commit_and_what_is_lost_is_told_exactly(tmp_path, dice):
    """A bit of any commit but the last, its length included; alarms behind it still count."""
    commits = [[frame(1, n, 300), Record(1, "alarm", n, b'{"id":"a%d","state":"raised"}' % n, b"")] for n in range(20)]
    bounds = []
    with journal(tmp_path) as it:
        bounds.append(it.size_bytes)
        for commit_ in commits:
            it.append(commit_, sync=True)
            bounds.append(it.size_bytes)
    path = tmp_path / "0000000001-000000.segment"
    damaged = random.Random(dice).randrange(len(commits) - 1)
    begin, end = bounds[damaged], bounds[damaged + 1]
    flip(path, begin if dice == 0 else random.Random(dice).randrange(begin, end))
    before = path.read_bytes()
    with journal(tmp_path) as it:
        kept = [n for n in range(20) if n != damaged]
        assert [record.sequence for record in it.read(1, "frame", 0, ALL_BYTES)] == kept
        assert {record.sequence for record in it.retained_alarms()} == set(kept)
        assert it.recovery.torn_bytes == 0
        ((name, damage),) = it.recovery.damages
        assert (name, damage.begin, damage.end) == (path.name, begin, end)
        if damaged:  # what the very first commit held is told by nothing
            assert set(damage.lost) == {("frame", damaged, damaged + 1), ("alarm", damaged, damaged + 1)}
    assert path.read_bytes() == before, "what cannot be read is not destroyed"


@pytest.mark.parametrize(
    "header", [b'{"id":"a"}', b'{"state":"raised"}', b'{"id":1,"state":"raised"}', b"[1]", b"junk"]
)
def test_an_alarm_that_says_nothing_costs_its_commit_though_its_checksum_is_right(tmp_path, header):
    commits = [[frame(1, n)] for n in range(3)]
    commits[1].append(Record(1, "alarm", 0, header, b""))
    path = tmp_path / "0000000001-000000.segment"
    path.write_bytes(
        pack_head(1) + b"".join(pack_commit([Entry(EntryKind.RECORD, one) for one in some]) for some in commits)
    )
    with journal(tmp_path) as it:
        assert [record.sequence for record in it.read(1, "frame", 0, ALL_BYTES)] == [0, 2]
        assert it.retained_alarms() == []
        ((_, damage),) = it.recovery.damages
        assert damage.lost == (("frame", 1, 2),)


def test_a_damaged_start_of_a_segment_costs_no_segment_before_it_and_no_alarm(tmp_path):
    raised = Record(1, "alarm", 0, b'{"id":"a","state":"raised"}', b"")
    with journal(tmp_path) as it:
        it.append([raised], sync=True)
        for n in range(8):
            it.append([frame(1, n, 400_000)], sync=False)
        segments = sorted(tmp_path.glob("*.segment"))
        assert len(segments) == 4
    for path in segments[-2:]:
        flip(path, 40)
    with journal(tmp_path) as it:
        assert it.retained_alarms() == [raised]
        assert [record.sequence for record in it.read(1, "frame", 0, ALL_BYTES)] == list(range(8))
        assert (it.span(1, "frame").oldest, it.span(1, "frame").next) == (0, 8)
        assert len(it.recovery.damages) == 2


def test_garbage_is_set_aside_and_hides_nothing(tmp_path):
    with journal(tmp_path) as it:
        it.append([frame(1, 0)], sync=True)
    garbage = random.Random(1).randbytes(5_000)
    os.mkfifo(tmp_path / "0000000002-000000.segment")
    (tmp_path / "0000000003-000000.segment").write_bytes(garbage)
    (tmp_path / "9999999999-999999.segment").write_bytes(b"")
    (tmp_path / "0000000004-000000.segment").symlink_to(tmp_path / "nothing")
    shutil.copy(tmp_path / "0000000001-000000.segment", tmp_path / "0000000007-000000.segment")  # another epoch's
    with journal(tmp_path) as it:
        assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]
        assert len(it.recovery.set_aside) == 5
        it.append([frame(it.epoch, 0)], sync=True)
    assert (tmp_path / "0000000003-000000.segment.not-a-segment").read_bytes() == garbage


def test_a_damaged_head_costs_nothing(tmp_path):
    for at in range(12):
        folder = tmp_path / str(at)
        with journal(folder) as it:
            it.append([frame(1, 0)], sync=True)
        flip(folder / "0000000001-000000.segment", at)
        with journal(folder) as it:
            assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]


def test_a_newer_format_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "0000000001-000000.segment"
    newer = b"LWJRNL\x03\n\x01\0\0\0" + random.Random(1).randbytes(300)
    path.write_bytes(newer)
    with pytest.raises(
        JournalError, match="has format 3, and this linewatch reads formats 1 to 2: use the newer version"
    ):
        journal(tmp_path).__enter__()
    assert path.read_bytes() == newer


@pytest.fixture(params=["tmpfs", "rlimit"])
def small_disk(request, tmp_path) -> Iterator[tuple[Path, int]]:
    """A folder on a disk with about 600 kB of room, and the bytes that fill it."""
    if request.param == "rlimit":
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, limits[1]))
        try:
            yield tmp_path
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "linewatch-test", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_an_error_that_keeps_what_was_written_and_the_service_can_go_on(small_disk):
    folder = small_disk / "journal"
    with journal(folder) as it:
        written: list[Record] = []

        def fill() -> None:
            for n in range(100):
                it.append([frame(1, n, 50_000)], sync=False)
                written.append(frame(1, n, 50_000))

        with pytest.raises(JournalError, match=r"the disk is full.*earlier records stay readable"):
            fill()
        assert len(written) > 5
        assert it.read(1, "frame", 0, ALL_BYTES) == written
        small = Record(1, "alarm", 0, b'{"id":"a","state":"raised"}', b"")
        it.append([small], sync=True)  # there is room for this one: the partial write was undone
        assert it.read(1, "alarm", 0, ALL_BYTES) == [small]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with journal(folder) as it:
        assert it.recovery.torn_bytes == 0
        assert it.read(1, "frame", 0, ALL_BYTES) == written
        assert it.retained_alarms() == [small]


def test_a_disk_that_is_full_at_the_start_is_an_error_and_leaves_the_journal_as_it_was(tmp_path):
    with journal(tmp_path) as it:
        it.append([frame(1, 0)], sync=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
    try:
        with pytest.raises(JournalError, match="the disk is full"):
            journal(tmp_path).__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with journal(tmp_path) as it:
        assert it.epoch == 2


def test_the_identity_and_the_newest_state_outlive_restarts_and_segments(tmp_path):
    with journal(tmp_path) as it:
        identity = it.identity
        assert (len(identity), it.state) == (36, b"")
        it.append([frame(1, 0)], sync=True, state=b"first")
        it.append([frame(1, 1)], sync=False)
        assert it.state == b"first"
    with journal(tmp_path) as it:
        assert (it.identity, it.state) == (identity, b"first")
        for n in range(40):
            it.append([frame(2, n, bytes(1 << 18))], sync=False, state=b"second" if n == 0 else None)
        assert 1 not in it.epochs(), "the first segment is gone"
    with journal(tmp_path) as it:
        assert (it.identity, it.state) == (identity, b"second")
    for path in tmp_path.glob("*.segment"):
        path.unlink()
    with journal(tmp_path) as it:
        assert it.identity != identity, "it is another one"
        assert (it.epoch, it.state) == (1, b"")


def test_a_state_is_kept_with_its_records_or_not_at_all(tmp_path):
    with journal(tmp_path) as it:
        it.append([frame(1, 0)], sync=True, state=b"whole")
        it.append([frame(1, 1)], sync=True, state=b"torn")
    path = tmp_path / "0000000001-000000.segment"
    path.write_bytes(path.read_bytes()[:-3])
    with journal(tmp_path) as it:
        assert it.state == b"whole"
        assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, 0)]


def test_a_journal_of_format_1_is_read_and_continued(tmp_path):
    """Its segments have neither identity nor state; the first opening gives it an identity."""
    old = tmp_path / "0000000001-000000.segment"
    records = [Entry(EntryKind.RECORD, frame(1, n)) for n in range(3)]
    head = pack_head(1).replace(b"LWJRNL\x02", b"LWJRNL\x01")
    old.write_bytes(head + b"".join(pack_commit([one]) for one in records))
    with journal(tmp_path) as it:
        identity = it.identity
        assert (it.epoch, it.recovery.set_aside, it.recovery.damages) == (2, (), ())
        assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, n) for n in range(3)]
        it.append([frame(2, 0)], sync=True)
    with journal(tmp_path) as it:
        assert it.identity == identity
        assert it.read(1, "frame", 0, ALL_BYTES) == [frame(1, n) for n in range(3)]
        assert it.read(2, "frame", 0, ALL_BYTES) == [frame(2, 0)]
