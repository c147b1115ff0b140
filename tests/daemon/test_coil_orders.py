"""Coils' data are bounded, on disk before they hold, and taken entirely or not at all."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.capture.coils import CoilAccount
from linewatch.config.coil_data import CoilDataSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.coil import CoilData
from linewatch.contracts.errors import ConfigError, JournalError
from linewatch.contracts.frame import Frame
from linewatch.daemon.coils import coil_data as known_coils
from linewatch.daemon.coils import orders as coil_orders
from linewatch.daemon.coils.coil_data import CoilDataEntry, KnownCoilData
from linewatch.daemon.coils.folder import CoilFolder, coil_files
from linewatch.daemon.coils.orders import ORDERS_FILE, CoilOrder, CoilOrders
from linewatch.daemon.coils.recorded import read_recorded
from linewatch.daemon.recipes import Recipes, RuleFiles
from linewatch.inference.engines import load_engines
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import CoilAction, CoilDataBody, CoilRequest

FRAME = Frame(None, None, 0, "A", "top", "cam1", 0, 0, 64, 0, 0, 0.0, 1.0, AcrossMap(0.0, 0.5, 64), 0)


@pytest.fixture(scope="module")
def recipes() -> Recipes:
    settings = ServiceSettings()
    return Recipes(RuleFiles.read(settings, None), None, load_engines(settings.inference))


def data(coil: str, token: str) -> CoilRequest:
    body = CoilDataBody(coil=coil, product="p")
    return CoilRequest(schema_version=1, request="coil", token=token, action=CoilAction.DATA, data=body)


def orders(folder: Path, recipes: Recipes, known: KnownCoilData, epoch: int = 1, *, anew: bool = False) -> CoilOrders:
    return CoilOrders(folder, epoch, CoilAccount(), known, recipes, anew=anew)


def held(known: KnownCoilData, coil: str, first_line: int = 0) -> CoilData | None:
    return known.attach(replace(FRAME, coil=coil, first_line=first_line)).data


def test_what_cannot_be_written_is_refused_and_does_not_hold(tmp_path: Path, recipes: Recipes) -> None:
    known = KnownCoilData()
    taken = orders(tmp_path, recipes, known)
    (tmp_path / ORDERS_FILE).unlink()
    (tmp_path / ORDERS_FILE).mkdir()
    refused = taken.take(data("C-1", "the-first"))
    assert isinstance(refused, str)
    assert "nothing was changed" in refused
    assert held(known, "C-1") is None
    (tmp_path / ORDERS_FILE).rmdir()
    assert isinstance(taken.take(data("C-1", "the-first")), CoilOrder), "and may be sent again"
    assert held(known, "C-1") == CoilData("C-1", product="p")


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, recipes: Recipes) -> None:
    with pytest.raises(JournalError, match="cannot write"):
        orders(tmp_path / "nowhere", recipes, KnownCoilData())


def test_orders_are_bounded_and_what_is_no_order_is_left_out(
    tmp_path: Path, recipes: Recipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, bound in ((coil_orders, "ORDERS_KEPT", 16), (coil_orders, "_ORDERS_WRITTEN", 64)):
        monkeypatch.setattr(module, name, bound)
    monkeypatch.setattr(known_coils, "COILS_KEPT", 8)
    known = KnownCoilData()
    taken = orders(tmp_path, recipes, known)
    for number in range(101):
        assert isinstance(taken.take(data(f"C-{number % 30}", f"token-{number:06}")), CoilOrder)
    assert known.coils == 8
    path = tmp_path / ORDERS_FILE
    assert len(path.read_bytes().splitlines()) <= 65
    path.write_bytes(b'{"epoch": 1}\n' + path.read_bytes() + b'{"epo')
    again = KnownCoilData()
    orders(tmp_path, recipes, again, epoch=2)
    assert again.coils == 8
    newest = "C-10"
    assert held(again, newest) == held(known, newest) == CoilData(newest, product="p")
    assert orders(tmp_path, recipes, forgotten := KnownCoilData(), epoch=3, anew=True)
    assert forgotten.coils == 0


def test_a_good_file_waits_until_it_can_be_taken_up(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('coil = "C-1"\nproduct = "p"\n')
    answers: list[object] = ["the disk is full", object()]
    folder = CoilFolder(CoilDataSettings(folder=tmp_path, look_s=0.001), lambda _request: answers.pop(0))
    folder.scan(0.0)
    assert folder.trouble == f"{tmp_path / 'c.toml'}: the disk is full"
    assert coil_files(tmp_path) == [tmp_path / "c.toml"]
    for _ in range(100):
        folder.scan(0.01)
    assert folder.trouble is None
    assert coil_files(tmp_path / "taken") == [tmp_path / "taken" / "c.toml"]
    assert not answers, "it was told once"


def test_what_lies_in_the_folder_keeps_no_file_from_being_taken(tmp_path: Path) -> None:
    """A link in a circle, a pipe, a folder, a dangling link; a file that has gone again."""
    for name, target in (("loop.json", "loop.json"), ("dangling.json", "/nowhere")):
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "c.toml").write_text('coil = "C-1"\nproduct = "p"\n')
    folder = CoilFolder(CoilDataSettings(folder=tmp_path, look_s=0.001), lambda _request: object())
    folder.scan(0.0)
    assert folder.trouble is None
    assert coil_files(tmp_path / "taken") == [tmp_path / "taken" / "c.toml"]
    assert folder._take((0, "gone.json", 3)) is None
    assert not (tmp_path / "rejected").exists()


def test_files_that_cannot_be_moved_away_hold_up_no_newer_one(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    for number in range(300):
        (tmp_path / f"c{number}.toml").write_text(f'coil = "C-{number}"\nproduct = "p"\n')
    told: list[str] = []
    folder = CoilFolder(CoilDataSettings(folder=tmp_path, look_s=1e-6), lambda asked: told.append(asked.data.coil))
    for _ in range(20):
        folder.scan(0.0)
    assert sorted(told) == sorted(f"C-{number}" for number in range(300)), "each once"


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 3), st.integers(0, 5)), max_size=8),
    st.lists(st.sampled_from("AB"), max_size=5),
)
def test_recorded_data_hold_in_their_passage_from_their_line(told, coils):
    """A frame has the data of the last entry, in their order, whose line it has reached."""
    recorded = [
        CoilDataEntry(CoilData(coil, product=str(n)), ordinal, line) for n, (coil, ordinal, line) in enumerate(told)
    ]
    known, ordinal, before = KnownCoilData(recorded), -1, ""
    for coil in coils:
        ordinal, before = ordinal + (coil != before), coil
        for line in range(6) if coils.count(coil) == 1 else ():
            reached = [
                one.data
                for one in recorded
                if (one.data.coil, one.ordinal) == (coil, ordinal) and one.from_line <= line
            ]
            assert held(known, coil, line) == (reached[-1] if reached else None)
        held(known, coil, 0)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("c.txt", "", "expected .json, .toml, .jsonl or a folder"), ("c.json", "{}", "coil: is missing")],
)
def test_a_record_that_is_none_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_recorded(tmp_path / name)


def test_an_order_goes_on_over_two_kills(tmp_path: Path, recipes: Recipes) -> None:
    """The second start was killed before it carried the order out."""
    request = CoilRequest(schema_version=1, request="coil", token="the-start", action=CoilAction.START, coil="C-2")
    first = orders(tmp_path, recipes, KnownCoilData(), epoch=1)
    assert isinstance(first.take(request), CoilOrder)
    for epoch in (2, 3):
        again = orders(tmp_path, recipes, KnownCoilData(), epoch=epoch)
        again.go_on(("C-1",), between=False)
        assert again._account.start_refusal("C-2"), "it is ordered"
    last = orders(tmp_path, recipes, KnownCoilData(), epoch=4)
    last.go_on(("C-1", "C-2"), between=False)
    assert last._account.start_refusal("C-2") is None, "it was carried out"


def test_an_end_that_was_carried_out_ends_no_later_coil(tmp_path: Path, recipes: Recipes) -> None:
    """The coil had ended when the service was killed. The next one began by itself; then it was killed again."""
    request = CoilRequest(schema_version=1, request="coil", token="the-first-end", action=CoilAction.END)
    first = orders(tmp_path, recipes, KnownCoilData(), epoch=1)
    first._account.enter("C-1")
    assert isinstance(first.take(request), CoilOrder)
    orders(tmp_path, recipes, KnownCoilData(), epoch=2).go_on((), between=True)
    third = orders(tmp_path, recipes, KnownCoilData(), epoch=3)
    third._account.enter("C-2")
    third.go_on((), between=False)
    assert not third._account._orders, "the end of C-2 is not ordered"


def test_a_pipe_in_place_of_the_file_is_set_aside(tmp_path: Path, recipes: Recipes) -> None:
    """Reading it would hang the start."""
    os.mkfifo(tmp_path / ORDERS_FILE)
    taken = orders(tmp_path, recipes, KnownCoilData())
    assert isinstance(taken.take(data("C-1", "the-first")), CoilOrder)
    assert (tmp_path / f"{ORDERS_FILE}.not-a-file").is_fifo()
