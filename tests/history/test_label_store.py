"""What people say of a history's defects: right, wrong, missed; the newest counts, and what engine it was about."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine
from stored_coils import coil_messages, store_messages

from linewatch import cli
from linewatch.contracts.errors import HistoryError
from linewatch.contracts.verdict import StripBox
from linewatch.history import database
from linewatch.history.database import FileChangedError, reading, write_once, writing
from linewatch.history.labels import LabelVerdict, export_labels, label, labelled_defects, missed, newest_labels
from linewatch.wire.encode import Sequencer

PLACE = StripBox((100.0, 120.0), (300.0, 340.0))


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """The database of a coil of four frames with one defect left, number 1 of passage 1."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with writing(url) as engine:
        store_messages(engine, coil_messages(Sequencer(1, "abc")))
    return url


def test_a_defect_that_was_right_keeps_its_class(stored: str) -> None:
    with writing(stored) as engine, engine.begin() as connection:
        said = label(connection, "1", LabelVerdict.RIGHT, None, "eva")
        assert (said.verdict, said.found_class, said.right_class) == ("right", "scratch", "scratch")
        with pytest.raises(HistoryError, match="right takes no --class"):
            label(connection, "1", LabelVerdict.RIGHT, "sliver", "eva")
        with pytest.raises(HistoryError, match="say where it lies"):
            label(connection, "1", LabelVerdict.MISSED, "sliver", "eva")


def test_a_label_is_stored_while_the_history_moves_its_commits(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the -wal file into the database, after the label has opened it and before its transaction."""
    make_ready, left = database._make_ready, 2

    with writing(stored) as history:

        def and_moved(engine: Engine, url: str) -> None:
            nonlocal left
            make_ready(engine, url)
            if left:
                left -= 1
                moving = history.raw_connection()
                moving.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
                moving.close()

        monkeypatch.setattr(database, "_make_ready", and_moved)
        with pytest.raises(FileChangedError), writing(stored) as engine, engine.begin():
            pass
        said = write_once(stored, lambda connection: label(connection, "1", LabelVerdict.RIGHT, None, "eva"))
    assert (said.who, left) == ("eva", 0)
    with reading(stored) as connection:
        assert [one.who for one in newest_labels(connection)] == ["eva"]


def test_the_newest_label_of_a_defect_is_learned_from_with_the_engines_that_found_it(stored: str) -> None:
    with writing(stored) as engine, engine.begin() as connection:
        label(connection, "1", LabelVerdict.RIGHT, None, "eva")
        label(connection, "1", LabelVerdict.NOT_A_DEFECT, None, "tom")
        missed(connection, 1, PLACE, "sliver", "eva")
        (one,) = labelled_defects(connection)
    assert (one.label.verdict, one.label.who) == ("not-a-defect", "tom")
    assert (one.row.number, one.row.passage, one.row.defect.defect_class) == (1, 1, "scratch")
    assert one.engines == ("openvino@0123456789ab/openvino-2026.4.1/int8/avx512_vnni",)


def test_a_missed_defect_is_kept_with_its_place_and_once(stored: str, tmp_path: Path) -> None:
    with writing(stored) as engine, engine.begin() as connection:
        missed(connection, 1, PLACE, "sliver", "eva")
        missed(connection, 1, PLACE, "scratch", "eva")
        (said,) = newest_labels(connection)
        assert (said.verdict, said.found_class, said.right_class) == ("missed", "", "scratch")
        assert (said.along_begin_mm, said.along_end_mm, said.coil) == (300.0, 340.0, "C1")
        out = tmp_path / "labels.jsonl"
        assert export_labels(connection, out) == 1
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["verdict"], row["across_begin_mm"], row["image"]) == ("missed", 100.0, None)


@pytest.mark.parametrize(
    "box",
    [
        StripBox((120.0, 100.0), (300.0, 340.0)),
        StripBox((100.0, 120.0), (340.0, 340.0)),
        StripBox((-1.0, 120.0), (300.0, 340.0)),
        StripBox((100.0, 120.0), (300.0, 1e9)),
        StripBox((100.0, float("nan")), (300.0, 340.0)),
        StripBox((100.0, float("inf")), (300.0, 340.0)),
    ],
)
def test_a_missed_defect_must_lie_on_its_strip(stored: str, box: StripBox) -> None:
    with writing(stored) as engine, engine.begin() as connection:
        with pytest.raises(HistoryError, match="expected two rising positions"):
            missed(connection, 1, box, "sliver", "eva")
        assert list(newest_labels(connection)) == []


def test_labels_by_command(stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "history.toml"
    config.write_text(f'database = "{stored}"\n[[service]]\nname = "svc"\n')
    assert cli.main(["label", "1", "right", "--by", "eva", "--config", str(config)]) == 0
    assert "scratch is right, labelled by eva" in capsys.readouterr().out
    placed = ["--class", "sliver", "--across-mm", "100", "120", "--along-mm", "300", "340", "--by", "eva"]
    assert cli.main(["missed", "1", *placed, "--config", str(config)]) == 0
    assert "a sliver was missed, labelled by eva" in capsys.readouterr().out
    assert cli.main(["missed", "9", *placed, "--config", str(config)]) == HistoryError.exit_code
    assert "no passage 9" in capsys.readouterr().err
    with reading(stored) as connection:
        assert [one.verdict for one in newest_labels(connection)] == ["right", "missed"]
