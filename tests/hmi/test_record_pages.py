"""The pages that look back, asked over HTTP: what they answer, who may label, and that nothing gets in from outside."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hmi_process import hmi_config, running_hmi
from stored_weeks import ROOT, WEEK_NS, Mill, history_toml
from web_client import WebClient

from linewatch.history.database import reading
from linewatch.history.labels import export_labels, newest_labels
from linewatch.hmi.pages.defect import outline_path

pytestmark = pytest.mark.service

SCRIPT = '<script>alert("1")</script>'
COUNT = 4


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page over a history of four coils, one with a name that would be a script; their service is silent."""
    folder = tmp_path_factory.mktemp("mill")
    url = f"sqlite:///{folder / 'history.sqlite'}"
    begun_ns = time.time_ns() - WEEK_NS
    names = [*(f"C{n}" for n in range(COUNT - 1)), SCRIPT]
    Mill(url, folder / "images", pictures=4, seed=5).store((name, begun_ns, True) for name in names)
    secret = folder / "secret.png"
    cv2.imwrite(str(secret), np.zeros((8, 8), np.uint8))
    more = f'history = "{history_toml(folder)}"\nengines_dir = "{ROOT / "engines"}"'
    nobody = f"ipc://{folder}/nobody"
    with running_hmi(hmi_config(folder, nobody, nobody, more=more)) as page:
        clients = {
            name: WebClient(page.url, person)
            for name, person in {"observer": "Olga Observer", "operator": "Otto Operator", "nobody": ""}.items()
        }
        yield SimpleNamespace(url=url, folder=folder, page=page, **clients)


def test_what_the_pages_answer_agrees(mill: SimpleNamespace) -> None:
    found = mill.observer.data("/coils/found")
    assert [one["coil"] for one in found["coils"]] == [SCRIPT, "C2", "C1", "C0"]
    assert (found["more"], found["incomplete"]) == (False, False)
    assert mill.observer.data("/coils/found?limit=2")["more"]
    one = mill.observer.data("/coils/found?text=c1")["coils"][0]
    whole = mill.observer.data(f"/coils/{one['passage']}/map")
    assert whole["coil"] == one
    rows = mill.observer.data(f"/coils/{one['passage']}/defects")["defects"]
    assert sum(not row["tentative"] for row in rows) == one["called"]
    assert {row["number"] for row in rows} == {row[whole["columns"].index("id")] for row in whole["defects"]}
    for row in rows:
        assert row["from_tail_mm"][0] == pytest.approx(one["passed_mm"] - row["along_mm"][1])
    weeks = mill.observer.data("/trends/weeks")["weeks"]
    assert sum(week["passages"] for week in weeks) == COUNT
    assert sum(sum(week["called"].values()) for week in weeks) == sum(one["called"] for one in found["coils"])
    assert len(mill.observer.data("/rolls/marks?days=365")["marks"]) == sum(one["roll_marks"] for one in found["coils"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/coils/999", 404),
        ("/coils/99999999999999999999", 404),
        ("/coils/0/map", 404),
        ("/defects/999999/about", 404),
        ("/defects/999999/picture.png", 404),
        ("/coils/found?from=yesterday", 400),
        ("/coils/found?lost=-3", 400),
        ("/coils/found?ended=perhaps", 400),
        ("/coils/found?from=0001-01-01", 400),
        ("/coils/found?to=9999-12-31", 400),
        (f"/coils/found?text={'x' * 500}", 400),
        ("/trends/weeks?from=1990-01-01", 400),
        ("/trends/weeks?to=9999-12-31", 400),
        ("/labels/queue?without=1,x", 400),
        ("/defects/..%2f..%2fsecret/picture.png", 404),
        ("/defects/1/../../../secret.png", 404),
        ("/coils/1/report.html/../../secret.png", 404),
    ],
)
def test_what_cannot_be_asked_is_refused_by_a_text(mill: SimpleNamespace, path: str, status: int) -> None:
    found, _, body = mill.observer.get(path)
    assert (found, b"Traceback" in body) == (status, False)
    assert json.loads(body)["error"]


def test_a_script_in_a_name_stays_a_text(mill: SimpleNamespace) -> None:
    status, headers, body = mill.observer.get(f"/coils/{COUNT}")
    assert status == 200
    assert SCRIPT.encode() not in body
    assert b"&lt;script&gt;" in body
    assert "script-src 'self'" in headers["content-security-policy"]


@pytest.mark.heavy
def test_a_report_may_run_no_script(mill: SimpleNamespace) -> None:
    status, headers, body = mill.observer.get(f"/coils/{COUNT}/report.html")
    assert (status, SCRIPT.encode() in body) == (200, False)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert policy.endswith("sandbox")
    assert re.fullmatch(r'inline; filename="[^"<>/]+\.html"', headers["content-disposition"])


def test_a_picture_comes_from_the_archive_alone(mill: SimpleNamespace) -> None:
    status, headers, body = mill.observer.get("/defects/1/picture.png")
    assert (status, headers["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")
    assert mill.nobody.get("/defects/1/picture.png")[0] == 401
    about = mill.observer.data("/defects/2/about")
    assert re.fullmatch(r"M[-0-9. LMz]+z", about["picture"]["outline"])
    database = mill.folder / "history.sqlite"
    with closing(sqlite3.connect(database)) as history:
        (name,) = history.execute("SELECT name FROM defect WHERE id = 3").fetchone()
        (before,) = history.execute("SELECT path FROM image WHERE name = ?", (name,)).fetchone()
        for path in ("../secret.png", str(mill.folder / "secret.png")):
            history.execute("UPDATE image SET path = ? WHERE name = ?", (path, name))
            history.commit()
            assert mill.observer.get("/defects/3/picture.png")[0] == 404
            assert mill.observer.data("/defects/3/about")["picture"] is None
        history.execute("UPDATE image SET path = ? WHERE name = ?", (before, name))
        history.commit()
    assert mill.observer.get("/defects/3/picture.png")[0] == 200
    assert len(mill.page.logged("picture_outside_the_archive")) >= 2


def test_labels_stand_under_the_persons_name_and_are_exported(mill: SimpleNamespace, tmp_path: Path) -> None:
    (first, *_) = mill.operator.data("/labels/queue?limit=3")["next"]
    number = first["defect"]["number"]
    told = f"/defects/{number}/label"
    right = {"verdict": "right"}
    assert mill.observer.act(told, right)[0] == 403
    assert mill.nobody.act(told, right)[0] == 401
    assert mill.operator.act(told, right, csrf="forged")[0] == 403
    for bad in (
        {"verdict": "perhaps"},
        {"verdict": "wrong-class"},
        {"verdict": "missed"},
        {"verdict": "right", "right_class": "x"},
        {"verdict": "wrong-class", "right_class": "\x1b[31m"},
        {"verdict": "wrong-class", "right_class": ["x"]},
        {"verdict": ["right"]},
    ):
        assert mill.operator.act(told, bad)[0] in (400, 409), bad
    status, said = mill.operator.act(told, {"verdict": "wrong-class", "right_class": SCRIPT, "who": "Eva Engineer"})
    assert (status, said["who"], said["right_class"]) == (200, "Otto Operator", SCRIPT)
    queue = mill.operator.data("/labels/queue")
    assert number not in [one["defect"]["number"] for one in queue["next"]]
    assert queue["today"] == 1
    with reading(mill.url) as connection:
        (label,) = newest_labels(connection)
        assert (label.who, label.verdict, label.right_class) == ("Otto Operator", "wrong-class", SCRIPT)
        assert export_labels(connection, tmp_path / "labels.jsonl", mill.folder / "images") == 1
    assert (tmp_path / json.loads((tmp_path / "labels.jsonl").read_text())["mask"]).is_file()
    assert mill.operator.act(f"/defects/{number}/take-back", {}) == (200, {"label": None})
    assert mill.operator.act(f"/defects/{number}/take-back", {})[0] == 409
    (again, *_) = mill.operator.data("/labels/queue?limit=3")["next"]
    assert again["defect"]["number"] == number


@pytest.mark.heavy
def test_the_engine_that_found_a_defect_shows_where_it_sees_it(mill: SimpleNamespace) -> None:
    about = mill.observer.data("/defects/1/about")
    assert about["activation"] == {"engine": "inspect", "task": "inspect"}
    status, _, body = mill.observer.get("/defects/1/activation.png")
    assert status == 200, body
    shown = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.shape == (about["picture"]["height"], about["picture"]["width"], 4)


def test_an_outline_follows_the_pixels_of_a_mask() -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2:4] = 255
    points = [tuple(map(float, one.split())) for one in outline_path(mask)[1:-1].split("L")]
    assert {x for x, _ in points} == {2.5, 3.5}
    assert {y for _, y in points} == {1.5, 2.5}
    assert outline_path(np.zeros((4, 5), np.uint8)) == ""
