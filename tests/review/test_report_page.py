"""The report opens in a real browser, fits A4 and a screen, fetches nothing, and runs nothing that a file brought."""

import csv
import html
import json
import re
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.coil_file import begins, closed, defect, ends, frame, opened, write
from linewatch.contracts.alarm import Alarm, AlarmState
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilGrade, GradeReason, Quality, RollMark, RollMarkState, RollSuspect
from linewatch.review.coil_record import CoilRecord, Identity, all_masks
from linewatch.review.from_verdicts import read_coil
from linewatch.review.report.pdf import browser_arguments, find_browser
from linewatch.review.report.write import ReportFiles, write_report
from linewatch.review.severities import ClassSeverities

pytestmark = pytest.mark.service

UNRATED = ClassSeverities()
needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium, Chrome or Edge is installed")

LOOK = """<!DOCTYPE html><body><iframe id="page" style="border:0;width:%dpx;height:3000px" src="%s"></iframe><script>
document.getElementById("page").onload = event => {
  const page = event.target.contentDocument, root = page.documentElement;
  const right = e => e.getBoundingClientRect().right;
  const wide = [...page.querySelectorAll("body *")].filter(e => right(e) > root.clientWidth + 1);
  const found = {scroll: root.scrollWidth, client: root.clientWidth,
    wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 80)),
    scripts: page.scripts.length,
    images: page.images.length, title: page.title, h1: page.querySelector("h1").textContent,
    rows: page.querySelectorAll(".worst tbody tr").length, owned: String(window.owned),
    fetched: event.target.contentWindow.performance.getEntriesByType("resource").map(e => e.name.slice(0, 40)),
    marks: [...page.querySelectorAll(".mark")].map(e => e.getBoundingClientRect().width)};
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
};</script></body>"""


def looked_at(page: Path, width_px: int) -> dict:
    """What a real browser makes of the page at this width."""
    browser = find_browser()
    assert browser is not None
    around = page.with_name("around.html")
    around.write_text(LOOK % (width_px, page.as_uri()))
    arguments = [*browser_arguments(browser, page.with_name("profile")), "--allow-file-access-from-files"]
    arguments += ["--virtual-time-budget=10000", "--dump-dom", around.as_uri()]
    dumped = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="found">(.*?)</pre>', dumped.stdout, re.DOTALL)
    assert found, dumped.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture
def listener():
    """A server that writes down what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def record_of(tmp_path: Path, text: str = "C1") -> CoilRecord:
    """A coil with some of everything; `text` stands wherever a file can put a string."""
    one = defect("a", 100.0, 100.0, coil=text, defect_class=text)
    long = defect(text, 300.0, 500.0, part_of=text)
    states = [(100.0, AlarmState.RAISED), (400.0, AlarmState.CLEARED)]
    alarms = [Alarm(f"{text}/1", text, state, True, text, "top", "cam1", at, ("a",), text) for at, state in states]
    path = write(
        tmp_path / "v.jsonl",
        [
            begins(text),
            frame(0, [opened(one), closed(one)], text, alarms=alarms[:1]),
            frame(1, [opened(long), closed(long)], text, alarms=alarms[1:], engines=(text,)),
            frame(2, coil=text, quality=Quality.MISSED),
            frame(3, coil=text, quality=Quality.DEGRADED),
            ends(1024.0, coil=text),
        ],
    )
    suspect = RollSuspect(text, text, (1550.0, 1650.0), (500.0, 510.0), 1, 0.9)
    roll = RollMark(
        *(text, RollMarkState.ENDED, text, "top", "cam1", text, 1600.0, 0.5, 0.999, 9, 10),
        across_mm=(10.0, 20.0),
        along_mm=(0.0, 9e3),
        defect_ids=(text,),
        suspects=(suspect,),
    )
    reason = GradeReason(text, text, text, (text,))
    return replace(
        read_coil(path, masked=all_masks),
        grade=CoilGrade(text, text, text, text, text, (0.0, 1024.0), 0.5, {3: 2}, (reason,)),
        roll_marks=(roll,),
        identities=(Identity(text, text),),
        notes=(text,),
    )


@needs_browser
@pytest.mark.parametrize("width_px", [703, 1280])  # A4 less the margins, and a screen
def test_a_hostile_coil_neither_runs_nor_fetches_nor_overflows(tmp_path: Path, width_px: int, listener) -> None:
    port, asked = listener
    hostile = (
        f"</title><script>parent.owned=1</script><img src='http://127.0.0.1:{port}/x' onerror='parent.owned=1'>"
        f"\"'><style>@import url(http://127.0.0.1:{port}/y)</style>{{{{7*7}}}}"
    )
    page = tmp_path / "coil.html"
    write_report(record_of(tmp_path, hostile), UNRATED, ReportFiles(html=page))
    found = looked_at(page, width_px)
    assert found["h1"] == f"Coil {hostile}"[: len(found["h1"])]
    assert (found["scripts"], found["images"], found["owned"]) == (0, 0, "undefined")
    assert asked == []
    assert [name for name in found["fetched"] if not name.startswith("data:")] == []
    assert found["wide"] == []
    assert found["scroll"] <= found["client"]
    assert found["rows"] == 2
    assert found["marks"]
    assert min(found["marks"]) > 1


@needs_browser
def test_the_pdf_is_a4(tmp_path: Path) -> None:
    out = tmp_path / "coil.pdf"
    write_report(record_of(tmp_path), UNRATED, ReportFiles(pdf=out))
    width, height = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", out.read_bytes())[0]
    assert (float(width), float(height)) == pytest.approx((595.3, 841.9), abs=1.0)


def test_every_string_is_escaped_and_everything_is_told(tmp_path: Path) -> None:
    page = tmp_path / "coil.html"
    write_report(record_of(tmp_path, "<i>&'\"x"), UNRATED, ReportFiles(html=page))
    text = page.read_text()
    assert "<i>" not in text
    assert "&lt;i&gt;&amp;" in text
    assert "default-src 'none'" in text
    for told in ("50.00 %", "lost", "overload", "1\u202f600.0", "9 of 10", "cleared at 0.40 m", "Why grade", "part of"):
        assert told in text


def test_a_coil_of_which_nothing_is_known_still_makes_a_page(tmp_path: Path) -> None:
    empty = read_coil(write(tmp_path / "v.jsonl", [begins(), ends(0.0)]))
    write_report(empty, UNRATED, ReportFiles(html=tmp_path / "coil.html", csv=tmp_path / "csv"))
    text = (tmp_path / "coil.html").read_text()
    assert "No strip passed." in text
    assert "all of the strip was inspected" not in text
    assert len((tmp_path / "csv" / "defects.csv").read_text().splitlines()) == 1


def test_a_coil_without_end_is_named_as_such(tmp_path: Path) -> None:
    one = defect("a", 10.0, 10.0)
    path = write(tmp_path / "v.jsonl", [begins(), frame(0, [opened(one)])])
    write_report(read_coil(path), UNRATED, ReportFiles(html=tmp_path / "coil.html"))
    text = (tmp_path / "coil.html").read_text()
    assert "The source of this report does not hold the end of the coil" in text
    assert "still open" in text


def test_the_tables_hold_everything_and_no_formula(tmp_path: Path) -> None:
    record = record_of(tmp_path, "=cmd|' /C calc'!A1")
    write_report(record, UNRATED, ReportFiles(csv=tmp_path / "csv"))
    tables = {}
    for name in ("defects", "spans", "alarms"):
        with (tmp_path / "csv" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            tables[name] = list(csv.DictReader(file))
    assert not any(cell.startswith("=") for rows in tables.values() for row in rows for cell in row.values())
    assert [row["coil"] for row in tables["defects"]] == ["'=cmd|' /C calc'!A1"] * 2
    row = next(row for row in tables["defects"] if row["id"] == "a")
    assert (float(row["along_begin_mm"]), float(row["across_end_mm"]), float(row["area_mm2"])) == (100.0, 110.0, 200.0)
    assert sum(float(row["along_end_mm"]) - float(row["along_begin_mm"]) for row in tables["spans"]) == 1024.0
    assert [row["state"] for row in tables["alarms"]] == ["raised", "cleared"]


def test_without_a_browser_the_pdf_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"none is installed; install one .* or write --html and print that"):
        write_report(record_of(tmp_path), UNRATED, ReportFiles(pdf=tmp_path / "coil.pdf"))
    assert not (tmp_path / "coil.pdf").exists()


def test_a_browser_that_fails_is_told_by_its_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="printed no PDF: no display; write --html"):
        write_report(record_of(tmp_path), UNRATED, ReportFiles(pdf=tmp_path / "coil.pdf"))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for files in (ReportFiles(html=tmp_path / "file" / "c.html"), ReportFiles(csv=tmp_path / "file")):
        with pytest.raises(ConfigError, match=r"cannot write .*name another"):
            write_report(record_of(tmp_path), UNRATED, files)
