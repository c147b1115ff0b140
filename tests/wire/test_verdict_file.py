"""A verdict file keeps every decision, in bytes that are equal in two runs except for the timing."""

import json
import resource
from dataclasses import replace

import numpy as np
import pytest
from decisions import alarm, coil_notice, defect_event, roll_mark, verdict

from linewatch.contracts.errors import JournalError
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import CoilState
from linewatch.wire.schema import CoilLine, VerdictLine
from linewatch.wire.verdict_file import VerdictFile, read_verdicts


def decided(captured_ns: int = 0):
    timing = Timing(captured_ns=captured_ns)
    frames = [verdict(n, (defect_event(n),) * (n % 3), (alarm(n),) * (n % 2), timing=timing) for n in range(6)]
    return [coil_notice(CoilState.STARTED), *frames, coil_notice(CoilState.ENDED, 1536.0)]


def write(path, decisions):
    with VerdictFile(path) as file:
        for decision in decisions:
            file.write(decision)
    return path


def test_what_is_written_is_read_back(tmp_path):
    lines = list(read_verdicts(write(tmp_path / "new" / "verdicts.jsonl", decided())))
    assert [type(line) for line in lines] == [CoilLine] + [VerdictLine] * 6 + [CoilLine]
    assert lines[3].ordinal == 2
    assert [d.id for d in lines[3].defects] == list(lines[3].defect_ids)
    assert np.array_equal(np.reshape(lines[3].defects[0].runs, (-1, 3)), defect_event(2).mask.runs)
    assert [a.id for a in lines[2].alarms] == ["scratches/C1/1"]


def test_roll_marks_are_kept_and_an_older_file_has_none(tmp_path):
    path = write(tmp_path / "v.jsonl", [replace(verdict(0), roll_marks=(roll_mark(),)), verdict(1)])
    assert [[mark.pitch_mm for mark in line.roll_marks] for line in read_verdicts(path)] == [[1900.123], []]
    path.write_text(path.read_text().splitlines()[1].replace('"roll_marks":[],', "") + "\n")
    assert [line.roll_marks for line in read_verdicts(path)] == [()]


def test_two_runs_are_byte_identical_but_for_timing(tmp_path):
    texts = []
    for captured_ns in (1, 999_999):
        path = write(tmp_path / f"{captured_ns}.jsonl", decided(captured_ns))
        assert str(captured_ns) in path.read_text()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        texts.append([json.dumps({k: v for k, v in line.items() if k != "timing"}) for line in lines])
    assert texts[0] == texts[1]
    assert write(tmp_path / "again", decided(1)).read_bytes() == (tmp_path / "1.jsonl").read_bytes()


def test_every_line_is_on_file_as_soon_as_it_is_written(tmp_path):
    with VerdictFile(tmp_path / "v.jsonl") as file:
        for count, decision in enumerate(decided(), start=1):
            file.write(decision)
            assert len(list(read_verdicts(tmp_path / "v.jsonl"))) == count


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path):
    path = write(tmp_path / "v.jsonl", decided())
    data = path.read_bytes()
    for cut in (1, 50, 200):
        path.write_bytes(data[:-cut])
        assert len(list(read_verdicts(path))) == 7


def test_a_line_that_is_not_ours_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "v.jsonl", decided())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"kind":"verdict","x":1}\n', *lines[2:]]))
    with pytest.raises(JournalError, match=r"line 3: .*expected a line of a verdict file"):
        list(read_verdicts(path))
    with pytest.raises(JournalError, match="cannot read"):
        list(read_verdicts(tmp_path / "absent.jsonl"))


def test_a_full_disk_is_an_error_that_keeps_whole_lines(tmp_path):
    path = tmp_path / "v.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(JournalError, match=r"the disk is full .*first \d+ bytes are whole lines"):
            write(path, decided())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes().endswith(b"\n")
    assert 0 < len(list(read_verdicts(path))) < 8


def test_a_path_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(JournalError, match="name a file that can be written"):
        VerdictFile(tmp_path).__enter__()
