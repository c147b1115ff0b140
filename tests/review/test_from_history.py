"""A coil is the same record, and the same report, whether it is read from its verdict file or from the history."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from decisions import coil_grade, roll_mark
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import assert_same
from stored_coils import messages_of, store_messages

from benchmarks.coil_file import LINES, begins, closed, defect, ends, frame, opened, write
from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmChange, AlarmCommand, AlarmNotice, AlarmState
from linewatch.contracts.errors import ConfigError, HistoryError
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import Decided, DefectState, Quality, RollMarkState
from linewatch.history.database import _engine, _migrations, reading, writing
from linewatch.history.queries import coils
from linewatch.history.tables import METADATA
from linewatch.review.coil_record import CoilRecord, all_masks
from linewatch.review.coil_sources import VerdictFileSource, source_of
from linewatch.review.comparison import compare
from linewatch.review.from_history import HistorySource
from linewatch.review.from_verdicts import read_coil
from linewatch.review.report.write import ReportFiles, write_report
from linewatch.review.severities import ClassSeverities
from linewatch.review.strips import strips_of
from linewatch.wire.encode import Sequencer

UNRATED = ClassSeverities()
CALIBRATIONS = "3f2a9c81d0aa 2026-11-30T08:15Z S1", "b5fd970258d7 2026-12-01T09:00Z S1"


def alarm(state: AlarmState, change: AlarmChange, at_mm: float, by: str | None = None) -> Alarm:
    asked = AlarmCommand("token-123", AlarmAction.ACKNOWLEDGE, by, 5) if by else None
    text = "2 scratches within 1 m"
    where = ("C1", "top", "cam1", at_mm, ("a",))
    return Alarm("many/C1/0", "many", state, True, *where, text, change=change, command=asked)


def a_coil() -> list[Decided]:
    """With some of everything."""
    one, two = defect("a", 10.0, 100.0), defect("b", 40.0, 120.0, severity=4, edge_mm=None, contrast=-0.25)
    part = defect("c", 300.0, 300.0, part_of="a", orientation_deg=-30.0)
    grown = defect("a", 256.0, 110.0)
    roll = roll_mark(name="r")
    raised = alarm(AlarmState.RAISED, AlarmChange.ACTIVE, 200.0)
    acknowledged = AlarmNotice((alarm(AlarmState.RAISED, AlarmChange.ACKNOWLEDGED, 300.0, "eva"),), Timing())
    shelf = replace(raised, id="many", state=AlarmState.CLEARED, change=AlarmChange.SHELVED, active_state=False)
    other = replace(raised, id="many/C0/9", coil="C0", state=AlarmState.CLEARED)
    cleared = alarm(AlarmState.CLEARED, AlarmChange.INACTIVE, 600.0)
    return [
        begins(),
        frame(0, [opened(one), opened(two)], alarms=[raised], engines=("screen@1", "classify@2", "segment@3")),
        acknowledged,
        AlarmNotice((shelf, other), Timing()),
        frame(1, [closed(two, "a"), opened(part), opened(grown, DefectState.UPDATED)], engines=("screen@1",)),
        replace(
            frame(2, [closed(one), closed(part)], roll_marks=(roll,), engines=("screen@1", "classify@9")),
            calibration=f"top/cam1 {CALIBRATIONS[0]}",
        ),
        replace(frame(3, quality=Quality.MISSED), calibration="; ".join(f"top/cam1 {one}" for one in CALIBRATIONS)),
        frame(4, quality=Quality.DEGRADED, engines=("screen@1",), alarms=[cleared]),
        ends(
            5.0 * LINES,
            grade=coil_grade(),
            roll_marks=(replace(roll, state=RollMarkState.ENDED, marks=7, defect_ids=("a", "c")),),
        ),
    ]


def record_in(url: str, decisions: list[Decided], service: str = "svc", epoch: int = 1) -> None:
    with writing(url) as engine:
        store_messages(engine, messages_of(*decisions, sequencer=Sequencer(epoch, "abc")), service)


def both(tmp_path: Path, decisions: list[Decided], url: str = "") -> tuple[CoilRecord, CoilRecord]:
    url = url or f"sqlite:///{tmp_path / 'h.sqlite'}"
    record_in(url, decisions)
    path = write(tmp_path / "v.jsonl", decisions)
    return read_coil(path, masked=all_masks), HistorySource(url, "C1").record(all_masks)


def test_a_coil_is_the_same_by_file_and_by_history(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, a_coil())
    assert_same(ours, theirs)
    assert ours.periodic == {*roll_mark().defect_ids, "a", "c"}
    assert [(mark.state, mark.marks) for mark in theirs.roll_marks] == [("ended", 7)]
    assert theirs.grade == replace(coil_grade(), graded_mm=(1000.0, 99_000.0))
    assert [step.change for step in theirs.alarms] == ["active", "acknowledged", "inactive"]
    assert (theirs.strip_mm, theirs.width_mm, theirs.mixed_engines) == ((10.0, 790.0), 780.0, True)
    assert [one.id for one in theirs.defects] == ["a", "c"]
    for record in (ours, theirs):
        told = [one.identity for one in record.identities if one.kind == "calibration"]
        assert told == [f"top/cam1 {one}" for one in CALIBRATIONS]


qualities = st.lists(st.sampled_from(Quality), min_size=1, max_size=6)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    looked=qualities,
    found=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=12),
    ended=st.booleans(),
)
def test_whatever_was_decided_is_the_same_by_both(
    looked: list[Quality], found: list[tuple[int, int]], ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Defects open in one frame, and close in the next, merge into one that came before, or stay open."""
    frames: list[list] = [[] for _ in range(len(looked) + 1)]
    for number, (at, then) in enumerate(found):
        if at >= len(looked):
            continue
        one = defect(f"d{number}", LINES * at + 10.0, 50.0 + 5 * number)
        frames[at].append(opened(one))
        if then < number and found[then][0] <= at:
            frames[at + 1].append(closed(one, f"d{then}"))
        elif then % 3:
            frames[at + 1].append(closed(one))
    decisions: list[Decided] = [begins()]
    decisions += [frame(n, frames[n], quality=quality) for n, quality in enumerate(looked)]
    if ended:
        decisions.append(ends(LINES * float(len(looked)), frames[-1]))
    ours, theirs = both(tmp_path_factory.mktemp("coil"), decisions)
    assert_same(ours, theirs)
    assert theirs.complete == ended
    strips = strips_of([ours]), strips_of([theirs])
    if Quality.INSPECTED in looked:
        same = compare(*strips)
        assert (same.total.lost, same.total.new, same.total.to_other, same.total.resized) == (0, 0, 0, 0)


def test_the_report_is_the_same_by_both_but_for_where_it_was_read(tmp_path: Path) -> None:
    pages = []
    for record in both(tmp_path, a_coil()):
        out = tmp_path / "page.html"
        write_report(record, UNRATED, ReportFiles(html=out))
        text = re.sub(r"Made by linewatch .*? UTC", "", out.read_text())
        source = re.compile(r"<p>(Inspected .*?; )?from .*?</p>")
        assert len(source.findall(text)) == 1
        assert ("<code>abc</code>" in text) == ("passage 1 of the history" in text)
        pages.append(re.sub(r"<tr><td class=\"text\">configuration</td>.*?</tr>\n", "", source.sub("", text)))
    assert pages[0] == pages[1]
    assert "acknowledged at 0.30 m by eva" in pages[0]
    assert "cleared at 0.60 m" in pages[0]


def test_a_coil_that_came_again_is_named_by_its_passage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    record_in(url, [*a_coil(), begins(), frame(0)])
    with pytest.raises(HistoryError, match=r"coil 'C1' has 2 passages in this history: 2 \(top, cam1, .*\), 1 .*name"):
        HistorySource(url, "C1").record()
    older, newer = (source_of(f"history:#{number}", lambda: url).record() for number in (1, 2))
    assert (older.complete, older.length_mm) == (True, 5.0 * LINES)
    assert (newer.complete, newer.length_mm) == (False, 1.0 * LINES)  # still under the camera
    with pytest.raises(HistoryError, match="passage 1 is of coil 'C1', not 'C9'"):
        HistorySource(url, "C9", 1).record()
    unknown = ("history:C9", "no coil 'C9'"), ("history:#7", "no passage 7"), ("history:#x", "no coil '#x'")
    for source, said in unknown:
        with pytest.raises(HistoryError, match=said):
            source_of(source, lambda: url).record()
    for source, said in (("history:", "names no coil"), ("history:\t", "U.0009, which cannot be printed")):
        with pytest.raises(ConfigError, match=said):
            source_of(source, lambda: url)


def test_a_coil_under_two_cameras_is_two_records_and_one_must_be_named_for_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    for service in ("top", "bottom"):
        record_in(url, a_coil(), service)
    assert len(list(HistorySource(url, "C1").records())) == 2
    with pytest.raises(HistoryError, match="has 2 passages"):
        HistorySource(url, "C1").record()


def test_what_the_history_could_not_get_is_told(tmp_path: Path) -> None:
    """Two frames are missing in the middle: their length passed, and nothing is known of it."""
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    record_in(url, [begins(), frame(0), frame(3), ends(4.0 * LINES)])
    record = HistorySource(url, "C1").record()
    assert record.unrecorded_mm == 2.0 * LINES
    assert record.inspected_share == 0.5
    out = tmp_path / "page.html"
    write_report(record, UNRATED, ReportFiles(html=out))
    assert "holds no record of 0.51 m of this coil" in out.read_text()


def test_a_history_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    file = tmp_path / "h.sqlite"
    url = f"sqlite:///{file}"
    source = HistorySource(url, "C1")
    with pytest.raises(HistoryError, match="there is no history yet"):
        source.record()
    record_in(url, a_coil())
    read_only = HistorySource(f"sqlite:///file:{file}?mode=ro&uri=true", "C1").record()
    assert len(read_only.defects) == 2
    with writing(url) as engine, engine.begin() as connection:  # holds the write lock
        connection.execute(sa.text("UPDATE coil SET camera = 'other'"))
        assert source.record().camera == "cam1"
    raw = bytearray(file.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    file.write_bytes(raw)
    with pytest.raises(HistoryError, match=r"malformed.*move it away|not a database"):
        source.record()


def test_a_history_of_the_revision_before_is_brought_up_to_date_with_all_that_it_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    engine = _engine(url, begin="BEGIN")
    with engine.begin() as connection:
        config = _migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO service VALUES (1, 'svc', 0)")
        for names in ("", "screen@1", "classify@2\nscreen@1", "classify@2\nscreen@1\nalpha@3", "classify@9\nscreen@1"):
            sorted_names = "\n".join(sorted(names.split("\n")))
            connection.execute(sa.text("INSERT INTO engines (identities) VALUES (:names)"), {"names": sorted_names})
        columns = "id, coil_id, name, state, defect_class, confidence, peak, across_begin_mm, across_end_mm"
        columns += ", along_begin_mm, along_end_mm, area_mm2, extent, frames, class_scores, length_mm, width_mm"
        coil = "1, 1, 0, 1, 0, 'C1', 'top', 'cam1', 5, 6, 256.0, 256.0, 0, 0, 1, 1, 1, 1, 'abc', :more"
        more = json.dumps({"along_mm": 256.0})
        connection.execute(sa.text(f"INSERT INTO coil VALUES ({coil})"), {"more": more})
        for values in (
            "1, 1, 'a', 'closed', 'dent', 0.6, 0.9, 0, 1, 2, 3, 4, 'mask', 1, '{}', 5, 6, 7",
            "2, 1, 'b', 'closed', 'dent', 0.6, 0.9, 0, 1, 5, 6, 4, 'tile', 1, '{}', 5, 6, 7",
        ):
            connection.execute(sa.text(f"INSERT INTO defect ({columns}, orientation_deg) VALUES ({values})"))
        connection.exec_driver_sql("INSERT INTO span VALUES (1, 1, 0, 256, 0.0, 256.0, 'inspected', NULL, 4)")
    engine.dispose()
    with pytest.raises(HistoryError, match="is of revision 0001"):
        HistorySource(url, "C1").record()
    with writing(url):
        pass
    record = HistorySource(url, "C1").record()
    assert [(one.id, one.probability) for one in record.defects] == [("a", 0.9), ("b", 0.6)]
    assert [(use.place, use.engine) for use in record.engines] == [(0, "screen@1"), (1, "classify@2"), (2, "alpha@3")]
    assert (record.strip_mm, record.width_mm, record.length_mm, record.roll_marks) == (None, None, 256.0, ())
    with reading(url) as connection:
        assert coils(connection)[0].grade is None
        assert set(sa.inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_a_file_is_named_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "history", a_coil())
    source = source_of(str(path), lambda: pytest.fail("no history is asked"))
    assert isinstance(source, VerdictFileSource)
    assert (str(source), len(source.record().defects)) == (str(path), 2)
