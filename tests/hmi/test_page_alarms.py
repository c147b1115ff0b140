"""People handle alarms and engines on the page: each in the own name, with the own role, and one truth for all."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from acting_people import HOST, acted_on_service, acting_people
from decisions import alarm, verdict
from starlette.testclient import TestClient
from stored_coils import messages_of, store_messages
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.client.connection import ask_snapshot
from linewatch.contracts.alarm import AlarmAction, AlarmChange, AlarmCommand, Priority
from linewatch.history.database import writing
from linewatch.hmi.access.guard import HEADERS
from linewatch.hmi.pages.journal import PAGE_ROWS

pytestmark = pytest.mark.service

SECOND = 1_000_000_000
OLGA, OTTO, EVA = "Olga Observer", "Otto Operator", "Eva Engineer"
REASON = "the roll is being changed"


def test_two_people_handle_alarms_and_each_stands_in_the_record(tmp_path: Path) -> None:
    with (
        acted_on_service(tmp_path) as service,
        acting_people(tmp_path, (OLGA, OTTO, EVA), service.commands) as (olga, otto, eva),
    ):

        def standing(rule: str):
            return next((one for one in ask_snapshot(service.serve).standing_alarms if one.rule == rule), None)

        raised = wait_until(lambda: standing("latched"))
        for path, body in (
            ("/alarms/acknowledge", {"alarms": [raised.id]}),
            ("/alarms/shelve", {"alarm": "square", "minutes": 5, "comment": REASON}),
            ("/alarms/unshelve", {"alarm": "square"}),
        ):
            assert olga.act(path, **body)[0] == 403, "an observer may only look"
        assert standing("latched") is not None
        assert otto.act("/engines/exchange", action="drop")[0] == 403, "an operator changes no engines"

        for wrong in ({}, {"alarms": []}, {"alarms": ["x" * 600]}, {"alarms": "all"}, {"alarms": [None]}):
            assert otto.act("/alarms/acknowledge", **wrong)[0] == 400
        for wrong in (
            {"alarm": "square", "minutes": 5},
            {"alarm": "square", "minutes": 0, "comment": REASON},
            {"alarm": "square", "minutes": True, "comment": REASON},
            {"alarm": "square", "minutes": "5", "comment": REASON},
            {"alarm": "square", "minutes": 5, "comment": "a\nb"},
            {"alarm": "square", "minutes": 5, "comment": "x" * 201},
            {"minutes": 5, "comment": REASON},
        ):
            assert otto.act("/alarms/shelve", **wrong)[0] == 400
        status, answer = otto.act("/alarms/shelve", alarm="nowhere", minutes=5, comment=REASON)
        assert status == 409
        assert "no alarm and no rule has that name" in answer["error"]

        assert otto.act("/alarms/acknowledge", alarms=[raised.id]) == (200, {"changed": 1})
        assert eva.act("/alarms/acknowledge", alarms=["latched"])[0] in (200, 409), "it may be over already"
        status, answer = otto.act("/alarms/shelve", alarm="square", minutes=5, comment=REASON)
        assert (status, answer["changed"] >= 1, answer["until_unix_ms"] > 0) == (200, True, True)
        shelf = next(one for one in ask_snapshot(service.serve).suppressed_or_shelved if one.id == "square")
        assert (shelf.command.by, shelf.command.comment) == ("Otto Operator", REASON)
        assert eva.act("/alarms/unshelve", alarm="square")[1]["changed"] >= 1
        assert all(one.id != "square" for one in ask_snapshot(service.serve).suppressed_or_shelved)

        status, engines = olga.ask("/engines/known")
        assert status == 200
        assert [one["role"] for one in engines["engines"]] == ["screen", "classify", "segment"]
        assert engines["available"] == ["classify", "screen", "segment"]
        assert (engines["beside"], engines["back_to"]) == (None, None)
        assert olga.ask("/engines/disagreements") == (200, {"running": "", "trial": "", "disagreements": []})
        assert olga.ask("/journal/rows")[0] == 404, "there is no history"
        assert olga.client.get("/journal").status_code == 200
        assert olga.ask("/engines/picture", number=0, trial="x")[0] == 404
        assert eva.act("/engines/exchange", action="rollback")[0] == 409
        assert eva.act("/engines/exchange", action="explode")[0] == 400
        assert eva.act("/engines/exchange", action="drop")[0] == 200

        text = wait_until(lambda: "engine drop" in _audit(service.audit) and _audit(service.audit))
    for said in ('"by": "Otto Operator"', '"by": "Eva Engineer"', f'"comment": "{REASON}"', '"what": "alarm unshelve"'):
        assert said in text
    assert "Olga" not in text


def _audit(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*.jsonl")))


def test_the_journal_is_filtered_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = AlarmCommand("token-123", AlarmAction.ACKNOWLEDGE, "hmi-3", 5, "ann", "=1+1")
    told = [
        alarm(0, name="a"),
        replace(alarm(1, name="b"), rule="hole", priority=Priority.URGENT, text="hole: <script>alert(1)</script>"),
        replace(alarm(2, name="a"), change=AlarmChange.ACKNOWLEDGED, acked_state=True, command=asked),
        *(alarm(number, name=f"more-{number}") for number in range(3, PAGE_ROWS + 3)),
    ]
    frames = []
    for number, one in enumerate(told):
        frame = verdict(number, (), (one,))
        frame.timing.published_unix_ns = 1_796_083_200 * SECOND + number * SECOND  # 2026-12-01T00:00 UTC
        frames.append(frame)
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with writing(url) as engine:
        store_messages(engine, messages_of(*frames))
    with acting_people(tmp_path, (OTTO,), None, url) as (otto,):
        status, page = otto.ask("/journal/rows")
        assert (status, len(page["rows"]), page["rows"][0]["alarm"]) == (200, PAGE_ROWS, told[-1].id)
        rest = otto.ask("/journal/rows", before=page["before"])[1]
        assert [row["alarm"] for row in rest["rows"]] == ["a", "b", "a"]
        assert rest["before"] is None
        assert [row["alarm"] for row in otto.ask("/journal/rows", priority="urgent")[1]["rows"]] == ["b"]
        assert len(otto.ask("/journal/rows", by="ann", change="acknowledged,shelved")[1]["rows"]) == 1
        before = otto.ask("/journal/rows", until="2026-12-01T01:00:02")[1]["rows"]
        assert [row["alarm"] for row in before] == ["b", "a"], "times are those of the plant's zone"
        for wrong in (
            {"priority": "x"},
            {"since": "yesterday"},
            {"until": "9999-01-01T00:00"},
            {"before": "-1"},
            {"change": "'; DROP TABLE alarm"},
        ):
            assert otto.ask("/journal/rows", **wrong)[0] == 400
        answer = otto.client.get("/journal/csv", params={"text": "script"})
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert [(row["alarm"], row["time"]) for row in rows] == [("b", "2026-12-01T01:00:01.000+01:00")]
        answer = otto.client.get("/journal/csv", params={"by": "ann"})
        assert "attachment" in answer.headers["content-disposition"]
        (row,) = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
        assert (row["person"], row["key"], row["comment"]) == ("ann", "hmi-3", "'=1+1"), "no formula for a spreadsheet"
        assert otto.act("/alarms/unshelve", alarm="square")[0] == 409, "there is nowhere to send it"

        monkeypatch.setattr("linewatch.history.alarm_journal.alarm_journal", _broken)
        quiet = TestClient(otto.client.app, base_url=HOST, cookies=otto.client.cookies, raise_server_exceptions=False)
        with capture_logs() as logged:
            answer = quiet.get("/journal/rows")
        assert (answer.status_code, "log" in answer.json()["error"]) == (500, True)
        assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        (line,) = [line for line in logged if line["event"] == "page_failed"]
        assert (line["path"], str(line["exc_info"])) == ("/journal/rows", "a fault of ours")


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("a fault of ours")
