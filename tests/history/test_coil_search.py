"""What the pages ask of a history: coils by what is known of them, weeks, roll marks, maps, and what to label next."""

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa
from stored_weeks import WEEK_NS, Mill

from linewatch.contracts.errors import HistoryError
from linewatch.history.database import reading, writing
from linewatch.history.labels import LabelVerdict, label, labels_by, labels_of, newest_labels, take_back
from linewatch.history.mapped import mapped
from linewatch.history.queries import coils, defect_rows, defects, engines_at, neighbours
from linewatch.history.rolls import roll_marks
from linewatch.history.search import NOT_GRADED, CoilFilter, choices, search
from linewatch.history.tables import CLASS_COUNT, DEFECT, IMAGE
from linewatch.history.trends import TrendFilter, weeks
from linewatch.history.uncertain import QueueFilter, uncertain, waiting

COUNT = 9
NOW_NS = time.time_ns()
FIRST_NS = NOW_NS - 3 * WEEK_NS


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nine coils of three weeks; those of the last week have pictures."""
    folder = tmp_path_factory.mktemp("weeks")
    found = f"sqlite:///{folder / 'history.sqlite'}"
    mill = Mill(found, folder / "images", pictures=4, seed=3)
    mill.store((f"C{n}_%<b>", FIRST_NS + n * WEEK_NS // 3, n >= 6) for n in range(COUNT))
    return found


@pytest.fixture
def connection(url: str) -> Iterator[sa.Connection]:
    with reading(url) as opened:
        yield opened


def test_coils_are_found_by_each_filter_as_a_scan_of_all_finds_them(connection: sa.Connection) -> None:
    every = search(connection, CoilFilter())
    assert [one.row.passage for one in every] == list(range(COUNT, 0, -1))

    def found(**wanted: object) -> list[int]:
        return [one.row.passage for one in search(connection, CoilFilter(**wanted))]

    def scan(fits: object) -> list[int]:
        return [one.row.passage for one in every if fits(one)]  # type: ignore[operator]

    grade, product = every[0].row.grade, every[0].product
    a_class = min(every[0].called_by_class)
    cause = next(iter(next(one.uninspected_mm2_by_cause for one in every if one.uninspected_mm2_by_cause)))
    assert found(grade=grade) == scan(lambda one: one.row.grade == grade)
    assert found(product=product) == scan(lambda one: one.product == product)
    assert found(defect_class=a_class) == scan(lambda one: a_class in one.called_by_class)
    assert found(cause=cause) == scan(lambda one: cause in one.uninspected_mm2_by_cause)
    assert found(worst_share=0.01) == scan(lambda one: one.row.inspected_share <= 0.99)
    assert found(roll_marks=True) == scan(lambda one: one.roll_marks)
    assert found(roll_marks=False) == scan(lambda one: not one.roll_marks)
    middle = FIRST_NS + 4 * WEEK_NS // 3
    assert found(begun_from_ns=middle) == scan(lambda one: one.row.begun_unix_ns >= middle)
    assert found(begun_to_ns=middle) == scan(lambda one: one.row.begun_unix_ns < middle)
    assert found(text="c4_%") == [5]
    assert found(text="_") == scan(lambda one: True)
    assert found(text="_c") == []  # no wildcard
    assert found(service="top-cam1", side="top", ended=True) == scan(lambda one: True)
    assert found(service="other") == found(side="bottom") == found(ended=False) == found(grade=NOT_GRADED) == []
    assert found(labelled=True) == []
    assert {grade} <= set(choices(connection).grades)
    page = search(connection, CoilFilter(), after=every[3].row.passage, limit=2)
    assert [one.row.passage for one in page] == [one.row.passage for one in every[4:6]]


def test_called_defects_are_counted_without_tentative_ones_as_they_come(url: str) -> None:
    counted = sa.select(CLASS_COUNT.c.coil_id, CLASS_COUNT.c.defect_class, CLASS_COUNT.c.called)
    with reading(url) as connection:
        rows = connection.execute(sa.select(DEFECT.c.coil_id, DEFECT.c.defect_class, DEFECT.c.tentative)).all()
        stored = {(row.coil_id, row.defect_class): row.called for row in connection.execute(counted) if row.called}
    assert stored == Counter((row.coil_id, row.defect_class) for row in rows if not row.tentative)


def test_a_history_of_before_gets_its_called_defects_counted(url: str, tmp_path: Path) -> None:
    older = tmp_path / "h.sqlite"
    counted = sa.select(CLASS_COUNT).order_by(CLASS_COUNT.c.coil_id, CLASS_COUNT.c.defect_class)
    with reading(url) as connection:
        before = connection.execute(counted).all()
    shutil.copy(Path(sa.make_url(url).database or ""), older)
    with closing(sqlite3.connect(older)) as database:
        database.executescript(
            "DROP INDEX ix_defect_class_probability; ALTER TABLE class_count DROP COLUMN called;"
            "DROP INDEX ix_alarm_happened_unix_ns; ALTER TABLE coil DROP COLUMN calibrations;"
            "UPDATE alembic_version SET version_num = '0006';"
        )
    with writing(f"sqlite:///{older}") as engine, engine.connect() as connection:
        assert connection.execute(counted).all() == before


def test_a_weeks_rate_is_of_the_kilometres_inspected(connection: sa.Connection) -> None:
    zone = ZoneInfo("Europe/Berlin")
    since = datetime.fromtimestamp(FIRST_NS / 1e9, UTC)
    found = weeks(connection, zone, since, datetime.now(UTC), TrendFilter())
    assert [week.begun.weekday() for week in found] == [0] * len(found)
    assert all((week.begun.hour, week.begun.tzinfo) == (0, zone) for week in found)
    every = search(connection, CoilFilter())
    assert sum(week.passages for week in found) == COUNT
    assert sum(week.called.total() for week in found) == sum(one.called for one in every)
    assert sum(week.inspected_km for week in found) == pytest.approx(sum(one.inspected_km for one in every))
    assert sum(week.lost_m2.total() for week in found) == pytest.approx(
        sum(sum(one.uninspected_mm2_by_cause.values()) for one in every) / 1e6
    )
    assert sum(week.roll_marks for week in found) == sum(one.roll_marks for one in every)
    week = max(found, key=lambda one: one.passages)
    name = max(week.called, key=lambda one: week.called[one])
    assert week.per_km(name) == week.called[name] / week.inspected_km
    empty = weeks(connection, zone, since - timedelta(weeks=9), since - timedelta(weeks=8), TrendFilter())
    assert [(one.passages, one.per_km("scratch")) for one in empty] == [(0, None), (0, None)]
    assert not any(one.passages for one in weeks(connection, zone, since, since, TrendFilter(side="bottom")))
    with pytest.raises(ValueError, match="more than 260 weeks"):
        weeks(connection, zone, since - timedelta(weeks=400), since, TrendFilter())


def test_the_week_of_the_change_of_clocks_has_no_gap(connection: sa.Connection) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(2026, 10, 1, tzinfo=zone)
    found = weeks(connection, zone, begin, begin + timedelta(weeks=8), TrendFilter())
    assert {two.begun.date() - one.begun.date() for one, two in pairwise(found)} == {timedelta(days=7)}
    assert len(found) == 9


def test_roll_marks_come_with_the_roll_that_fits_best(connection: sa.Connection) -> None:
    every = search(connection, CoilFilter())
    found = roll_marks(connection)
    assert Counter(row.passage for row in found) == {one.row.passage: 1 for one in every if one.roll_marks}
    assert {row.roll for row in found} <= {"F7 top", "F6 bottom", "skin-pass top"}
    assert roll_marks(connection, begun_from_ns=NOW_NS) == roll_marks(connection, passages=()) == []


def test_a_map_has_the_worst_defects_and_what_was_not_inspected(connection: sa.Connection) -> None:
    coil = next(row for row in coils(connection) if row.missed_mm)
    found = mapped(connection, coil.passage, 10_000)
    rows = defects(connection, [coil.passage], limit=1000)
    assert (found.others, len(found.defects)) == (0, len(rows))
    assert sum(one.missed_mm for one in found.lost) == pytest.approx(coil.missed_mm)
    assert {span.quality.value for span in found.spans} <= {"missed", "degraded"}
    three = mapped(connection, coil.passage, 3)
    assert (three.others, three.defects) == (len(rows) - 3, found.defects[:3])
    at = {name: place for place, name in enumerate(found.columns)}
    severities = [row[at["severity"]] or 0 for row in found.defects if not row[at["tentative"]]]
    assert severities == sorted(severities, reverse=True)
    assert found.grade is not None
    assert engines_at(connection, coil.passage, 5.0) == found.engines


def test_neighbours_are_the_nearest_defects_of_the_coil(connection: sa.Connection) -> None:
    rows = defects(connection, [5], limit=1000)
    one = rows[len(rows) // 2]

    def middle(row: object) -> np.ndarray:
        box = row.defect.box  # type: ignore[attr-defined]
        return np.array([sum(box.along_mm), sum(box.across_mm)]) / 2

    apart = {row.number: np.linalg.norm(middle(row) - middle(one)) for row in rows if row.number != one.number}
    near = neighbours(connection, one, 1e9, 6)
    assert [row.number for row in near] == sorted(apart, key=lambda number: apart[number])[:6]
    assert neighbours(connection, one, 0.0, 6) == [
        row for row in rows if row.number != one.number and row.defect.box.along_mm[0] == one.defect.box.along_mm[0]
    ]


@pytest.mark.parametrize("few_pictures", [0, 5_000])
def test_the_least_certain_defect_with_a_picture_comes_first(
    few_pictures: int, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("linewatch.history.uncertain.FEW_PICTURES", few_pictures)
    with writing(url) as engine, engine.begin() as connection:
        pictured = sa.select(DEFECT.c.id, DEFECT.c.probability, DEFECT.c.defect_class, DEFECT.c.coil_id).join(
            IMAGE, sa.and_(IMAGE.c.coil_id == DEFECT.c.coil_id, IMAGE.c.name == DEFECT.c.name)
        )
        rows = connection.execute(pictured).all()
        uncertainty = {row.id: abs(row.probability - 0.5) for row in rows}

        def expected(fits: object = lambda row: True) -> list[float]:
            return sorted(uncertainty[row.id] for row in rows if fits(row))  # type: ignore[operator]

        def found(of: QueueFilter, limit: int = 1000, **more: object) -> list[float]:
            return [uncertainty[one.number] for one in uncertain(connection, of, limit, **more)]

        every = QueueFilter()
        assert found(every) == expected()
        assert found(every, 5) == expected()[:5]
        name = rows[0].defect_class
        assert found(QueueFilter(defect_class=name)) == expected(lambda row: row.defect_class == name)
        assert found(QueueFilter(passage=8)) == expected(lambda row: row.coil_id == 8)
        recent = QueueFilter(begun_from_ns=FIRST_NS + 7 * WEEK_NS // 3)
        assert found(recent) == expected(lambda row: row.coil_id >= 8)
        assert waiting(connection, every, 10_000) == len(rows)
        assert waiting(connection, every, 3) == 3
        first, second = uncertain(connection, every, 2)
        assert found(every, without=frozenset({first.number})) == expected()[1:]
        label(connection, str(first.number), LabelVerdict.NOT_A_DEFECT, None, "eva")
        assert uncertain(connection, every, 1) == [second]
        assert waiting(connection, every, 10_000) == len(rows) - 1
        assert labels_by(connection, "eva", NOW_NS) == 1
        take_back(connection, first.number, "eva")
        assert uncertain(connection, every, 1) == [first]


def test_only_the_newest_label_is_taken_back_and_only_by_who_gave_it(url: str) -> None:
    with writing(url) as engine, engine.begin() as connection:
        (row,) = defect_rows(connection, [1])
        label(connection, "1", LabelVerdict.RIGHT, None, "eva")
        label(connection, "1", LabelVerdict.WRONG_CLASS, "other", "tom")
        with pytest.raises(HistoryError, match="labelled last by tom"):
            take_back(connection, 1, "eva")
        assert take_back(connection, 1, "tom").right_class == "other"
        assert labels_of(connection, [1, 2])[1].who == "eva"
        assert [one.found_class for one in newest_labels(connection)] == [row.defect.defect_class]
        take_back(connection, 1, "eva")
        with pytest.raises(HistoryError, match="no label to take back"):
            take_back(connection, 1, "eva")
        assert labels_of(connection, [1]) == {}
