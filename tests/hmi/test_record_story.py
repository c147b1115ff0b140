"""The pages that look back, in Chromium: find a coil, look at it, and teach with one key a label."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hmi_process import chromium, hmi_config, logged_in, needs_chromium, running_hmi
from page_findings import findings, noted
from stored_weeks import ROOT, WEEK_NS, Mill, history_toml
from waiting import wait_until

from linewatch import cli

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_chromium]

HOSTILE = "<img src=x onerror=document.title='ran'>"
PERSON = "Otto Operator"
COUNT = 8


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page over a history of eight coils of two weeks, all with pictures, the newest of a hostile name; a browser."""
    folder = tmp_path_factory.mktemp("mill")
    database = folder / "history.sqlite"
    begun_ns = time.time_ns() - 2 * WEEK_NS
    names = [*(f"C26-{4000 + n}" for n in range(COUNT - 1)), HOSTILE]
    coils = ((name, begun_ns + n * WEEK_NS // 5, True) for n, name in enumerate(names))
    Mill(f"sqlite:///{database}", folder / "images", pictures=6, seed=2).store(coils)
    nobody = f"ipc://{folder}/nobody"
    more = f'history = "{history_toml(folder)}"\nengines_dir = "{ROOT / "engines"}"\ntime_zone = "Europe/Berlin"'
    with running_hmi(hmi_config(folder, nobody, nobody, more=more)) as page, chromium() as browser:
        yield SimpleNamespace(
            folder=folder, database=database, url=page.url, browser=browser, config=folder / "history.toml"
        )


def open_page(mill: SimpleNamespace, path: str, **context: Any) -> tuple[Any, list[str]]:
    """Return a page that the person has logged in to, and the list of its errors."""
    page = logged_in(mill.browser, mill.url, PERSON, path, **context)
    return page, noted(page)


def labels(mill: SimpleNamespace) -> list[tuple[str, str | None, str]]:
    with closing(sqlite3.connect(mill.database)) as database:
        return database.execute("SELECT verdict, right_class, who FROM label ORDER BY id").fetchall()


def test_a_coil_is_found_opened_and_compared(mill: SimpleNamespace, tmp_path: Path) -> None:
    page, errors = open_page(mill, "/coils")
    rows = page.locator("#list tbody tr")
    wait_until(lambda: rows.count() == COUNT)
    page.fill("input[name=text]", "4003")
    page.keyboard.press("Enter")
    wait_until(lambda: rows.count() == 1)
    assert page.url.endswith("/coils?text=4003")
    rows.first.locator("a").click()
    page.wait_for_url("**/coils/4")
    page.locator("#defects tbody tr[tabindex]").first.wait_for()
    assert page.locator(".map canvas").evaluate("one => one.width") > 500
    with page.expect_popup() as opened:
        page.click("a.button[target=_blank]")
    opened.value.wait_for_load_state()
    assert "C26-4003" in opened.value.content()
    assert opened.value.pdf(format="A4").startswith(b"%PDF"), "the browser saves the report as PDF"
    page.bring_to_front()
    page.go_back()
    wait_until(lambda: rows.count() == 1)
    assert page.input_value("input[name=text]") == "4003"
    page.click("button[type=reset]")
    wait_until(lambda: rows.count() == COUNT)
    for row in (1, 3):
        page.locator("#list tbody input").nth(row).check()
    page.click("#compare")
    page.wait_for_url("**/compare?a=7&b=5")
    wait_until(lambda: page.locator(".map canvas").count() == 2 and page.locator("#figures tbody tr").count() > 6)
    with page.expect_download() as kept:
        page.locator("#charts button", has_text="PNG").first.click()
    kept.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"
    with page.expect_download() as kept:
        page.locator("#charts button", has_text="CSV").first.click()
    kept.value.save_as(tmp_path / "chart.csv")
    assert len((tmp_path / "chart.csv").read_text(encoding="utf-8-sig").splitlines()) > 2
    assert errors == []


def test_a_defect_is_looked_at_and_labelled_by_keys(mill: SimpleNamespace) -> None:
    page, errors = open_page(mill, "/defects/3")
    outline = page.locator(".lines")
    wait_until(lambda: page.locator(".steel").evaluate("one => one.complete && one.naturalWidth > 0"))
    assert outline.is_visible()
    page.keyboard.press("o")
    assert not outline.is_visible()
    width = page.locator(".sheet").evaluate("one => one.clientWidth")
    page.keyboard.press("+")
    wait_until(lambda: page.locator(".sheet").evaluate("one => one.clientWidth") > 1.4 * width)
    page.keyboard.press("a")
    over = page.locator(".over")
    wait_until(lambda: over.evaluate("one => one.complete && one.naturalWidth > 0"), 60.0)
    page.keyboard.press("n")
    wait_until(lambda: labels(mill) == [("not-a-defect", None, PERSON)])
    page.locator("#said", has_text=PERSON).wait_for()
    page.keyboard.press("u")
    wait_until(lambda: not labels(mill))
    page.keyboard.press("1")
    wait_until(lambda: [one[0] for one in labels(mill)] == ["wrong-class"])
    page.keyboard.press("u")
    wait_until(lambda: not labels(mill))
    assert errors == []


def test_a_queue_of_labels_goes_one_key_a_label(mill: SimpleNamespace, tmp_path: Path) -> None:
    page, errors = open_page(mill, "/labels")
    done = page.locator("#done")
    page.locator(".label-buttons button").first.wait_for()
    assert done.text_content() == "0"
    begun = time.monotonic()
    for count, key in enumerate("rn1rnrn2rrnnrrn1rnrn", start=1):
        page.locator("#work:not([hidden]) .steel").wait_for()
        page.keyboard.press(key)
        wait_until(lambda count=count: done.text_content() == str(count))
    took_s = time.monotonic() - begun
    wait_until(lambda: len(labels(mill)) == 20)
    assert {who for *_, who in labels(mill)} == {PERSON}
    print(f"20 labels in {took_s:.1f} s")
    page.keyboard.press("u")
    wait_until(lambda: len(labels(mill)) == 19)
    page.keyboard.press("s")
    out = tmp_path / "labels.jsonl"
    assert cli.main(["labels", "export", "--out", str(out), "--config", str(mill.config)]) == 0
    assert [json.loads(line)["who"] for line in out.read_text().splitlines()] == [PERSON] * 19
    assert (
        cli.main(["learn", "--from", "history", "--full", "--out", str(tmp_path / "set"), "--config", str(mill.config)])
        == 0
    )
    assert errors == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1920), ("dark", 1024), ("light", 390)])
def test_no_page_has_serious_findings_or_runs_a_script(mill: SimpleNamespace, scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    page, errors = open_page(mill, "/coils", viewport=size, color_scheme=scheme, locale="de-DE")
    paths = (
        "/coils",
        f"/coils/{COUNT}",
        f"/compare?a={COUNT}&b=2",
        "/compare",
        "/trends",
        "/rolls",
        "/defects/2",
        "/labels",
    )
    for path in paths:
        page.goto(mill.url + path)
        page.wait_for_timeout(1500)  # until what it asks for is shown
        assert findings(page) == [], path
        assert page.title() != "ran"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert errors == []
