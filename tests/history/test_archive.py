"""The archive keeps what is worth most, within its bounds, and is whole again whatever killed it."""

import base64
import resource
import time
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from archive_writer import at_every_event
from decisions import LINES, coil_notice, crop, defect_event, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_coils import messages_of, store_messages
from waiting import wait_until

from linewatch.config.history import ImageSettings, KeepSettings
from linewatch.contracts.coil import file_name
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import CoilState, RunMask
from linewatch.history import archive as archiving
from linewatch.history.archive import MARK, ImageArchive
from linewatch.history.archived_images import archived_images
from linewatch.history.database import reading, reopen, writing
from linewatch.history.retention import expire_step
from linewatch.history.tables import COIL, IMAGE
from linewatch.history.writer import stored_service
from linewatch.review.report.steel import archived_steel
from linewatch.review.report.thumbnail import window_of
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import decode

DAY_NS = 86_400 * 10**9
FOLDERS = count()
MEGABYTE_PX = 1000  # of a square of noise, whose PNG takes a megabyte


def said(*crops):
    """As the wire brings them."""
    sequencer = Sequencer(1)
    records = [sequencer.crop(one, 5) for one in crops]
    return [decode(r.topic.encode(), r.header, r.payload) for r in records]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'h.sqlite'}"


@pytest.fixture
def engine(url):
    """With three passages of a coil, told in one epoch; the newest is the third."""
    with writing(url) as opened:
        sequencer = Sequencer(1)
        for _ in range(3):
            events = tuple(defect_event(n) for n in range(4))
            store_messages(opened, messages_of(coil_notice(CoilState.STARTED), verdict(0, events), sequencer=sequencer))
        yield opened


@pytest.fixture
def archive_of(engine, tmp_path):
    def make(**of):
        return ImageArchive(ImageSettings(**{"dir": tmp_path / "images", "min_free_mb": 16.0} | of), engine)

    return make


def stored_of(engine):
    with engine.begin() as connection:
        return stored_service(connection, "svc")


def rows(engine):
    with engine.begin() as connection:
        return connection.execute(sa.select(IMAGE).order_by(IMAGE.c.id)).all()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != MARK}


def tidy_all(archive):
    while archive.tidy():
        pass


def is_whole(engine, folder):
    found = {path: len(data) for path, data in files(folder).items()}
    return found == {row.path: row.bytes for row in rows(engine)}


def age(engine, by_name):
    with engine.begin() as connection:
        for name, days in by_name.items():
            at_ns = time.time_ns() - int(days * DAY_NS)
            connection.execute(sa.update(IMAGE).where(IMAGE.c.name == name).values(stored_unix_ns=at_ns))


def test_a_picture_is_a_file_and_says_where_it_lies(engine, archive_of, tmp_path, url):
    one = crop(2, 1, severity=4)
    with archive_of() as archive:
        assert archive.store(stored_of(engine), said(one)) == []
        assert archive.state() == "0 MB of images"
    ((path, data),) = files(tmp_path / "images").items()
    assert data == one.png
    day, passage, name = path.split("/")
    assert (len(day.split("-")), passage, name) == (3, f"2-{file_name('C1')}", "512.200.png")
    with reading(url) as connection:
        found = archived_images(connection, tmp_path / "images", 2, ["C1/top/cam1/512.200", "C1/top/cam1/0.200"])
        assert list(found) == ["C1/top/cam1/512.200"]
        assert archived_images(connection, tmp_path / "images", 1, list(found)) == {}
        picture = found["C1/top/cam1/512.200"]
        (tmp_path / "images" / path).unlink()
        assert archived_images(connection, tmp_path / "images", 2, list(found)) == {}
        assert picture.read() is None
    assert (picture.box, picture.first_line, picture.lines) == (one.window.box, one.window.first_line, 40)


def test_a_mask_lies_on_its_picture(engine, archive_of, tmp_path, url):
    with archive_of() as archive:
        archive.store(stored_of(engine), said(crop(2, 0)))
    with reading(url) as connection:
        (picture,) = archived_images(connection, tmp_path / "images", 1, ["C1/top/cam1/512.200"]).values()
    beyond = np.array([[0, 0, 5], [3, 30, 60], [39, 7, 9]], np.int32)  # past the right side; past the bottom
    mask = picture.mask([RunMask(512, beyond), RunMask(99_999, beyond)])
    assert sorted(map(tuple, np.argwhere(mask == 255).tolist())) == sorted(
        [*((5, x) for x in range(5)), *((8, x) for x in range(30, 40))]
    )


def test_the_coil_of_a_picture_may_be_stored_later(engine, archive_of):
    with archive_of() as archive:
        early = said(crop(0, 7))
        assert archive.store(stored_of(engine), early) == early
        assert archive.stored == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told_of=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([None, 1, 3, 5]), st.integers(1, 6)), min_size=1, max_size=30
    ),
    cap=st.integers(1, 6),
    batch=st.integers(1, 7),
)
def test_a_coil_keeps_its_worst_whatever_the_order(told_of, cap, batch, engine, archive_of, tmp_path):
    with engine.begin() as connection:
        connection.execute(sa.delete(IMAGE))
    folder = tmp_path / f"images-{next(FOLDERS)}"
    crops = said(
        *(
            crop(n % 4, passage, 8, severity, name=f"C1/top/cam1/{n}.5", area_mm2=float(area))
            for n, (passage, severity, area) in enumerate(told_of)
        )
    )
    with archive_of(dir=folder, max_per_coil=cap) as archive:
        for at in range(0, len(crops), batch):
            archive.store(stored_of(engine), crops[at : at + batch])
        assert archive.stored + archive.passed_over == len(crops)
    for passage in (0, 1):
        worth = [(severity or 0, float(area)) for of, severity, area in told_of if of == passage]
        kept = [(row.severity, row.area_mm2) for row in rows(engine) if row.coil_id == passage + 1]
        assert sorted(kept, reverse=True) == sorted(worth, reverse=True)[:cap]
    assert is_whole(engine, folder)


def test_the_oldest_and_least_severe_go_first(engine, archive_of, tmp_path):
    """Three of a megabyte each have to go of six: by age over 1 + severity."""
    ages = {"0": (5, 12.0), "1": (5, 5.0), "2": (1, 4.1), "3": (0, 3.0), "4": (0, 1.0), "5": (3, 1.0)}
    with archive_of(max_mb=3) as archive:
        for name, (severity, _) in ages.items():
            archive.store(stored_of(engine), said(crop(0, 0, MEGABYTE_PX, severity, name=name)))
        age(engine, {name: days for name, (_, days) in ages.items()})
        tidy_all(archive)
        assert [row.name for row in rows(engine)] == ["1", "5"]  # 3: 3 days, 2: 2.05, 0: 2, 4: 1, 1: 0.83, 5: 0.25
        assert archive.used_mb <= 3
        assert (archive.stored, archive.removed) == (6, 4)
    assert is_whole(engine, tmp_path / "images")


def test_too_old_and_of_an_expired_coil(engine, archive_of, tmp_path):
    with archive_of(days=1.0) as archive:
        archive.store(stored_of(engine), said(*(crop(n % 4, n // 4, 10, n % 5, name=str(n)) for n in range(12))))
        with engine.begin() as connection:
            for passage, days in ((1, 1.5), (2, 0.9)):
                begun = sa.update(COIL).filter_by(id=passage)
                connection.execute(begun.values(begun_unix_ns=time.time_ns() - int(days * DAY_NS)))
        tidy_all(archive)
        assert {row.name for row in rows(engine)} == {str(n) for n in range(4, 12)}
        with engine.begin() as connection:
            while expire_step(connection, KeepSettings(days=0.5)) is not None:
                pass
        tidy_all(archive)
        assert {row.name for row in rows(engine)} == {"8", "9", "10", "11"}
    assert is_whole(engine, tmp_path / "images")
    assert len(list((tmp_path / "images").glob("*/*"))) == 1  # emptied folders are gone


def test_a_clock_that_is_years_ahead_removes_no_image(engine, archive_of, monkeypatch):
    with archive_of(days=90.0) as archive:
        archive.store(stored_of(engine), said(*(crop(n % 4, n // 4, 10, n % 5, name=str(n)) for n in range(12))))
        ahead_ns = time.time_ns() + 400 * DAY_NS
        monkeypatch.setattr(archiving.time, "time_ns", lambda: ahead_ns)
        tidy_all(archive)
        assert len(rows(engine)) == 12


@pytest.mark.slow
def test_what_is_left_behind_is_swept_and_nothing_else(engine, archive_of, tmp_path):
    folder = tmp_path / "images"
    with archive_of() as archive:
        archive.store(stored_of(engine), said(*(crop(n, n % 2, 10) for n in range(4))))
    kept, cut, gone, _ = (folder / row.path for row in rows(engine))
    cut.write_bytes(cut.read_bytes()[:-9])
    gone.unlink()
    (kept.parent / "7.7.png").write_bytes(b"no row names it")
    (kept.parent / "8.8.png.part").write_bytes(b"half")
    (folder / "2026-01-01" / "99-GONE").mkdir(parents=True)
    (folder / "2026-01-01" / "99-GONE" / "1.1.png").write_bytes(b"no such coil")
    (folder / "notes.txt").write_text("by hand")
    with archive_of() as archive:
        tidy_all(archive)
    assert len(rows(engine)) == 2
    assert (folder / "notes.txt").read_text() == "by hand"
    (folder / "notes.txt").unlink()
    assert is_whole(engine, folder)


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_nothing_for_ever(url, engine, archive_of, tmp_path):
    """Storing beyond the cap, and removing: killed before each operation on a file, and before each commit."""
    killed = at_every_event(url, tmp_path / "images", said(*(crop(n, 0, 10, n + 1) for n in range(4))))
    assert len(killed) > 40
    with archive_of(max_per_coil=2) as archive:
        archive.store(stored_of(engine), said(*(crop(n, 0, 10, n + 1) for n in range(4))))
        tidy_all(archive)
        assert archive.used_mb == sum(row.bytes for row in rows(engine)) / 1e6
    assert [row.severity for row in rows(engine)] == [3, 4]
    assert is_whole(engine, tmp_path / "images")


def test_images_of_a_database_that_was_moved_away_stay(engine, archive_of, tmp_path, url):
    """The one that takes its place removes only what it has left itself; the former one finds its own again."""
    folder = tmp_path / "images"
    with archive_of() as archive:
        archive.store(stored_of(engine), said(crop(0, 0), crop(1, 1)))
    former = files(folder)
    (tmp_path / "h.sqlite").rename(tmp_path / "away.sqlite")
    reopen(engine, url)
    with archive_of() as archive:
        tidy_all(archive)
        assert files(folder) == former
        stray = folder / next(iter(former))
        stray.with_name("stray.png").write_bytes(b"of a kill")
    with archive_of() as archive:
        tidy_all(archive)
        assert files(folder) == former
    (tmp_path / "away.sqlite").rename(tmp_path / "h.sqlite")
    reopen(engine, url)
    with archive_of() as archive:
        tidy_all(archive)
        assert archive.used_mb == sum(map(len, former.values())) / 1e6
    assert is_whole(engine, folder)


@pytest.mark.parametrize(
    ("there", "told_what"),
    [
        ("another", r"holds the images of /elsewhere/h.sqlite, not of .*h.sqlite; name another folder"),
        ("files", "holds other files; name a folder of its own"),
        ("file", "cannot be used .File exists.; name another"),
    ],
)
def test_a_folder_that_cannot_be_meant(there, told_what, archive_of, tmp_path):
    folder = tmp_path / "images"
    if there == "file":
        folder.write_bytes(b"")
    else:
        folder.mkdir()
        name = MARK if there == "another" else "holiday.png"
        (folder / name).write_text("/elsewhere/h.sqlite\n")
    with pytest.raises(HistoryError, match=told_what), archive_of():
        pass


def test_a_file_that_cannot_be_written_stops_pictures_and_no_more(engine, archive_of, tmp_path, monkeypatch):
    """As a full disk would: the kernel refuses to let a file grow, here by the process's own limit."""
    monkeypatch.setattr(archiving, "RETRY_S", 0.2)
    small, large = said(crop(0, 0, 20), crop(1, 0, 2000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with archive_of() as archive:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, before[1]))
        try:
            archive.store(stored_of(engine), [large, small])
            assert "File too large" in archive.state()
            assert archive.not_stored == 2
            wait_until(lambda: archive.store(stored_of(engine), [small]) or archive.stored)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (archive.stopped, archive.stored) == (None, 1)
    assert is_whole(engine, tmp_path / "images")


def test_pictures_go_when_the_disk_gets_low(engine, archive_of, tmp_path, monkeypatch):
    """The least severe first, and only as many as make room; none come meanwhile."""
    monkeypatch.setattr(archiving, "RETRY_S", 0.0)
    free_mb = [100.0]
    with archive_of(min_free_mb=20.0) as archive:
        monkeypatch.setattr(archive, "_free_mb", lambda: free_mb[0] + archive.removed)  # each takes a megabyte
        archive.store(stored_of(engine), said(*(crop(n, 0, MEGABYTE_PX, n + 1) for n in range(4))))
        free_mb[0] = 19.9
        archive.store(stored_of(engine), said(crop(0, 1)))
        assert "20 MB are free on the disk" in archive.stopped
        tidy_all(archive)
        assert [row.severity for row in rows(engine)] == [4]  # 22 MB are to be free
        archive.store(stored_of(engine), said(crop(0, 1)))
        assert (archive.stopped, archive.not_stored) == (None, 1)
    assert is_whole(engine, tmp_path / "images")


def test_the_reports_thumbnails_show_what_is_stored(engine, archive_of, tmp_path, url):
    """As `cut_out` shows it: along to the right, in the window of the defect's thumbnail."""
    ramp = np.tile(np.linspace(0, 240, 40, dtype=np.uint8)[:, None], (1, 60))  # brighter along the strip
    _, png = cv2.imencode(".png", ramp)
    events = [defect_event(n).defect for n in range(3)]
    crops = said(crop(0, 0), crop(1, 0))
    crops[1]._png = png.tobytes()
    with archive_of() as archive:
        archive.store(stored_of(engine), crops)
    with reading(url) as connection:
        found = archived_steel(connection, tmp_path / "images", 1, events)
        other = archived_steel(connection, tmp_path / "images", 2, events)
    assert [one is not None for one in found] == [True, True, False]
    assert other == [None] * 3
    packed = np.frombuffer(base64.b64decode(found[1].partition(",")[2]), np.uint8)
    shown = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE).astype(int)
    window = window_of(events[1].box)
    across_px = int((105 - window.across_mm[0]) / (window.across_mm[1] - window.across_mm[0]) * 180)
    assert shown.shape == (180, 288)
    begin_mm = window.along_mm[0]
    assert begin_mm < LINES - 5  # gray where the picture does not reach
    assert abs(shown[across_px, 2] - 225) < 8
    for at_mm in (LINES + 2.5, LINES + 12.5):
        x = int((at_mm - begin_mm) / (window.along_mm[1] - begin_mm) * 288)
        assert abs(shown[across_px, x] - ramp[int(at_mm - (LINES - 5)), 0]) < 14
