"""Messages in any order of their topics, in any batches, give the same rows; what is new in a message is kept."""

import json
import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from decisions import LINES, coil_notice, defect_event, roll_mark, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_coils import coil_messages, messages_of, positions_behind, store_messages, stored_facts

from linewatch.config.history import KeepSettings
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilState, CoverageSpan, Quality, StripArea
from linewatch.history.database import _migrations, reading, writing
from linewatch.history.labels import LabelVerdict, label, newest_labels
from linewatch.history.queries import coils, defects, passages_of, spans
from linewatch.history.retention import AgeAllowance, Ages, expire_step
from linewatch.history.tables import COIL, METADATA, SERVICE
from linewatch.history.writer import HistoryWriter, stored_service
from linewatch.review.from_history import read_passage
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import CoilMessage, DefectMessage, FrameMessage

DAY_NS = 86_400 * 10**9


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'h.sqlite'}"


def test_a_coil_is_stored_with_all_that_was_told_of_it(url):
    with writing(url) as engine:
        store_messages(engine, coil_messages(Sequencer(1, "abc")))
    ((coil, sums, counts, instances, stretches, seen),) = stored_facts(url)
    assert seen == ((10.0, 790.0), 780.0, ([("ended", 6)], sorted(["a", "b", *roll_mark().defect_ids])))
    assert coil == "C1"
    assert sums == (4.0 * LINES, 4.0 * LINES - 56, 56.0, 0.0, 1, "abc")
    assert counts == {"scratch": 1}
    ((name, state, along_mm, more, parts),) = instances
    assert (name, state, more) == ("C1/top/cam1/0.200", "updated", {})
    assert along_mm == (256.0, 259.123)
    assert parts == [defect_event(0).mask.runs.tolist()] * 2
    assert [(s.first_line, s.lines, s.quality, s.cause) for s in (row.span for row in stretches)] == [
        (0, 712, "inspected", None),
        (712, 56, "missed", "truncated"),
        (768, 256, "inspected", None),
    ]
    assert stretches[0].engines == ("openvino@0123456789ab/openvino-2026.4.1/int8/avx512_vnni",)


@pytest.mark.parametrize("at_once", [True, False])
def test_strip_that_a_restarted_service_tells_again_counts_once(at_once, url):
    """It was killed while its disk failed: four frames were heard, and the journal had one and a half of them."""
    before = messages_of(coil_notice(CoilState.STARTED), *map(verdict, range(4)))
    first, lines = 384, 4 * LINES + 100 - 384
    along_mm = float(first), float(first + lines)
    lost = CoverageSpan(first, lines, along_mm, Quality.MISSED, Cause.RESTART, StripArea(0.0, 0.0, 780.0 * lines))
    gap = replace(verdict(0), first_line=first, lines=lines, along_mm=along_mm, spans=(lost,), valid_lines=0)
    after = messages_of(gap, sequencer=Sequencer(2, "abc", before[0].passage))
    with writing(url) as engine:
        for messages in [before + after] if at_once else [before, after]:
            store_messages(engine, messages)
    with reading(url) as connection:
        (row,) = coils(connection)
        stored = [one.span for one in spans(connection, row.passage)]
    assert row.ended_unix_ns is None
    assert (row.passed_mm, row.inspected_mm, row.missed_mm) == (4 * LINES + 100, 384.0, float(lines))
    assert row.passed_mm2 == pytest.approx(sum(span.area.passed_mm2 for span in stored))
    assert [(span.first_line, span.lines, span.cause) for span in stored] == [(0, 384, None), (384, lines, "restart")]


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_neither_batches_nor_the_order_of_topics_change_what_is_stored(seed, tmp_path_factory):
    dice, sequencer = random.Random(seed), Sequencer(1, "abc")
    messages = [*coil_messages(sequencer), *coil_messages(sequencer)]
    at_once = f"sqlite:///{tmp_path_factory.mktemp('a') / 'h.sqlite'}"
    with writing(at_once) as engine:
        store_messages(engine, messages)
    waiting = {topic: [m for m in messages if m.topic == topic] for topic in {m.topic for m in messages}}
    in_parts = f"sqlite:///{tmp_path_factory.mktemp('b') / 'h.sqlite'}"
    with writing(in_parts) as engine:
        while any(waiting.values()):
            batch = []
            for topic in dice.sample(sorted(waiting), len(waiting)):
                count = dice.randint(0, len(waiting[topic]))
                batch += waiting[topic][:count]
                del waiting[topic][:count]
            store_messages(engine, batch)
    assert sorted(stored_facts(in_parts), key=str) == sorted(stored_facts(at_once), key=str)


def test_a_coil_id_that_comes_again_is_another_passage_with_its_own_defects(url):
    sequencer = Sequencer(1)
    with writing(url) as engine:
        store_messages(engine, [*coil_messages(sequencer), *coil_messages(sequencer)])
        store_messages(engine, coil_messages(Sequencer(2)))
        store_messages(engine, coil_messages(Sequencer(1)), name="bottom")
    with reading(url) as connection:
        rows = coils(connection, "C1")
        assert len(rows) == 4
        numbers = [defects(connection, [row.passage])[0].number for row in rows]
        assert len(set(numbers)) == 4
        newest, older = passages_of(connection, "C1")
        assert ([row.service for row in newest], older) == (["svc", "bottom"], 2)
        with pytest.raises(HistoryError, match="no coil 'C9'"):
            passages_of(connection, "C9")


def test_a_field_that_this_version_has_no_column_for_is_kept(url):
    class Later(DefectMessage):
        roll_mark: str | None = None

    messages = coil_messages(Sequencer(1))
    messages = [
        Later.model_validate({**m.model_dump(), "roll_mark": "stand 4"}) if isinstance(m, DefectMessage) else m
        for m in messages
    ]
    messages = [
        m for m in messages if not isinstance(m, Later) or m.mask is None or setattr(m, "_runs", _runs()) is None
    ]
    with writing(url) as engine:
        store_messages(engine, messages)
    ((_, _, _, ((_, _, _, more, _),), _, _),) = stored_facts(url)
    assert more == {"roll_mark": "stand 4"}


def _runs():
    return np.array([[0, 0, 5], [0, 16, 21], [0, 32, 37]], np.int32)


def test_what_another_process_has_stored_is_not_stored_again(url):
    messages = coil_messages(Sequencer(1))
    with writing(url) as engine:
        with engine.begin() as connection:
            late = HistoryWriter(stored_service(connection, "svc"))
        store_messages(engine, messages[:3])
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:  # both believe to be the first
            late.store(connection, messages[:3], positions_behind(messages[:3]))
        with engine.begin() as connection:
            late = HistoryWriter(stored_service(connection, "svc"))
        store_messages(engine, messages[3:5])
        with pytest.raises(HistoryError, match="another process stores"), engine.begin() as connection:
            late.store(connection, messages[3:5], positions_behind(messages[3:5]))
    assert stored_facts(url)[0][2] == {"scratch": 1}


def test_pages_by_key_give_every_defect_once_and_in_order(url):
    sequencer = Sequencer(1)
    events = [defect_event(i % 7, name=f"C1/top/cam1/{i}.1") for i in range(50)]
    with writing(url) as engine:
        store_messages(
            engine, messages_of(coil_notice(CoilState.STARTED), verdict(0, tuple(events)), sequencer=sequencer)
        )
        store_messages(engine, coil_messages(Sequencer(1)), name="bottom")
    with reading(url) as connection:
        numbers = [row.passage for row in coils(connection)]
        pages, after = [], None
        while page := defects(connection, numbers, after=after, limit=7):
            pages.append(page)
            after = page[-1].number
        found = [d for page in pages for d in page]
        assert found == defects(connection, numbers, limit=1000)
        assert len({d.number for d in found}) == 51
        assert defects(connection, numbers, "dent") == []
        assert [d.passage for d in found] == sorted(d.passage for d in found)
        with pytest.raises(HistoryError, match="--after 99999 is no defect"):
            defects(connection, numbers, after=99999)


def test_the_oldest_coils_expire_by_age_and_by_room_and_their_labels_stay(url):
    sequencer = Sequencer(1)
    with writing(url) as engine:
        for _ in range(3):
            store_messages(engine, coil_messages(sequencer))
        with engine.begin() as connection:
            oldest = coils(connection)[-1]
            name = defects(connection, [oldest.passage])[0]
            label(connection, str(name.number), LabelVerdict.NOT_A_DEFECT, None, "eva")
            later_ns = oldest.begun_unix_ns + 2 * DAY_NS
            assert expire_step(connection, KeepSettings(days=3.0)) is None
            gone = []
            while (step := expire_step(connection, KeepSettings(days=1.0), now_ns=later_ns)) is not None:
                gone.append(step)
            assert gone == ["C1", "C1"]
            assert len(coils(connection)) == 1  # the newest is being written
            (said,) = newest_labels(connection)
            assert (said.coil, said.name, said.who) == ("C1", name.defect.id, "eva")
            left = {"defect": 2, "mask": 3, "span": 3, "alarm": 1, "class_count": 1}
            left |= {"strip_width": 1, "roll_mark": 1, "roll_mark_defect": 4}
            for table, rows in left.items():
                assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == rows, table


@pytest.mark.slow
def test_room_is_bounded(url):
    sequencer = Sequencer(1)
    events = tuple(defect_event(0, runs=2000, name=f"C1/top/cam1/{i}.1") for i in range(1000))
    with writing(url) as engine:
        for _ in range(4):
            store_messages(engine, messages_of(coil_notice(CoilState.STARTED), verdict(0, events), sequencer=sequencer))
        with engine.begin() as connection:
            while expire_step(connection, KeepSettings(max_mb=16)) is not None:
                pass
            left = len(coils(connection))
            pages, free = (connection.exec_driver_sql(f"PRAGMA {n}").scalar() for n in ("page_count", "freelist_count"))
            assert 1 <= left < 4
            assert (pages - free) * 4096 <= 16e6


def test_a_history_of_before_is_brought_up_to_date_with_what_it_holds(url):
    config = _migrations()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.insert(SERVICE).values(name="svc", journal=3))
    engine.dispose()
    with pytest.raises(HistoryError, match=r"is of revision 0001, this linewatch reads .*start its"), reading(url):
        pass
    with writing(url) as engine:
        store_messages(engine, coil_messages(Sequencer(1)))
    with reading(url) as connection:
        assert connection.execute(sa.select(COIL.c.journal)).scalars().all() == [3]


def test_the_migrations_make_the_tables_that_the_program_uses(url):
    with writing(url) as engine, engine.connect() as connection:
        missing = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert missing == [], "write a migration: linewatch/history/migrations/versions"


def _told_without_areas(messages):
    """The same messages as a service of before areas were told sends them."""
    named = {"inspected_mm2", "degraded_mm2", "missed_mm2", "uninspected_mm2_by_cause"}
    plain = []
    for message in messages:
        body = message.model_dump(mode="json")
        for part in (body, *body.get("spans", ())):
            for name in named:
                part.pop(name, None)
        if isinstance(message, (FrameMessage, CoilMessage)):
            message = type(message).model_validate_json(json.dumps(body))  # noqa: PLW2901
        plain.append(message)
    return plain


def test_areas_are_stored_and_the_inspected_share_is_of_them(url):
    with writing(url) as engine:
        store_messages(engine, coil_messages(Sequencer(1)))
    with reading(url) as connection:
        (row,) = coils(connection)
        stretches = [one.span.area for one in spans(connection, row.passage)]
        record = read_passage(connection, row.passage)
    passed_mm2 = 780.0 * 4 * LINES
    missed_mm2 = 780.0 * 56 + 4 * 0.5
    assert (row.inspected_mm2, row.degraded_mm2, row.missed_mm2) == (passed_mm2 - missed_mm2, 0.0, missed_mm2)
    assert row.inspected_share == pytest.approx(1 - missed_mm2 / passed_mm2)
    assert sum(area.passed_mm2 for area in stretches) == pytest.approx(passed_mm2)
    assert record.inspected_share == pytest.approx(row.inspected_share)


def test_a_service_that_tells_no_areas_is_stored_and_its_share_is_of_the_length(url):
    with writing(url) as engine:
        store_messages(engine, _told_without_areas(coil_messages(Sequencer(1))))
        store_messages(engine, coil_messages(Sequencer(2)))
    with reading(url) as connection:
        later, before = coils(connection)
        assert before.inspected_mm2 is None
        assert before.inspected_share == pytest.approx(1 - 56 / (4 * LINES))
        assert all(one.span.area is None for one in spans(connection, before.passage))
        assert read_passage(connection, before.passage).inspected_share == pytest.approx(before.inspected_share)
        assert later.inspected_mm2 is not None


def _many(engine, count):
    """Store a coil, and as many copies of its row as make `count`."""
    store_messages(engine, coil_messages(Sequencer(1)))
    with engine.begin() as connection:
        row = dict(connection.execute(sa.select(COIL)).one()._mapping)
        copies = [row | {"id": row["id"] + n, "ordinal": row["ordinal"] + n} for n in range(1, count)]
        connection.execute(sa.insert(COIL), copies)


def _date(connection, days_of):
    """Date the coils by their place in the order of storing."""
    began = 1_800_000_000 * 10**9
    for coil_id in connection.execute(sa.select(COIL.c.id)).scalars().all():
        at_ns = began + int(days_of(coil_id - 1) * DAY_NS)
        connection.execute(sa.update(COIL).filter_by(id=coil_id).values(begun_unix_ns=at_ns))
    return began


def test_what_became_too_old_while_nobody_looked_goes_within_days(url):
    """Ten times what a year's store of this size loses by itself."""
    keep, now_s = KeepSettings(days=365.0), [0.0]
    with writing(url) as engine:
        _many(engine, 40)
        with engine.begin() as connection:
            later_ns = _date(connection, lambda at: 20 * at) + 800 * DAY_NS
            allowance, ages = AgeAllowance(keep.days, lambda: now_s[0]), Ages(keep.days, lambda: now_s[0])
            gone = 0
            for minute in range(0, 24 * 60, 10):
                now_s[0] = 60.0 * minute
                while expire_step(connection, keep, now_ns=later_ns, allowance=allowance, ages=ages):
                    gone += 1
            assert 20 <= gone <= 25


def test_a_clock_that_is_years_ahead_or_behind_costs_no_coil(url):
    """The service's for a coil or from a coil on, the history's, or both: coils of 40 days, none of them a year old."""
    keep = KeepSettings(days=365.0)
    with writing(url) as engine:
        _many(engine, 40)
        with engine.begin() as connection:
            for jump, wrong_from in product((400, -400, 20_000), (0, 3, 39)):
                began = _date(connection, lambda at, jump=jump, wrong=wrong_from: at + jump * (at == wrong))
                for now_days in (40, 40 + jump):
                    assert expire_step(connection, keep, now_ns=began + now_days * DAY_NS) is None
                began = _date(connection, lambda at, jump=jump, wrong=wrong_from: at + jump * (at >= wrong))
                assert expire_step(connection, keep, now_ns=began + (40 + jump) * DAY_NS) is None


def test_a_coil_dated_ahead_goes_with_those_stored_behind_it(url):
    keep = KeepSettings(days=30.0)
    with writing(url) as engine:
        _many(engine, 40)
        for name in ("ended", "idle"):  # services of which nothing more comes, their clocks years off
            store_messages(engine, coil_messages(Sequencer(1)), name=name)
        with engine.begin() as connection:
            began = _date(connection, lambda at: at + (4_000 if at == 0 or at >= 40 else 0))
            gone = 0
            while expire_step(connection, keep, now_ns=began + 40 * DAY_NS) is not None:
                gone += 1
            assert gone == 11  # the last 30 days stay
