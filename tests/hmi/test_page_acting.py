"""Alarms, engines and system in Chromium: what one person does, the other sees; roles; sound; axe."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hmi_process import ROOT, chromium, hmi_config, logged_in, needs_chromium, running_hmi
from live_service import live_service
from page_findings import examined, findings
from waiting import wait_until

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import Priority
from linewatch.service_settings import ServiceSettings

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_chromium]

PATIENCE_MS = 90_000
RULES = (
    AlarmRule(name="any-defect", priority=Priority.URGENT),
    AlarmRule(name="scratch", classes=("scratch",), priority=Priority.LOW, latch=False),
)


@contextmanager
def page_of(settings: ServiceSettings, folder: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a service with alarms and with an engine to try, the process of its page, and a browser."""
    engines = folder / "engines"
    for name in ("screen", "classify", "segment"):
        shutil.copytree(ROOT / "engines" / name, engines / name)
    shutil.copytree(ROOT / "engines" / "segment", engines / "segment-b")
    manifest = json.loads((engines / "segment-b" / "manifest.json").read_text())
    manifest |= {"name": "segment-b", "thresholds": {**manifest["thresholds"], "defect": 0.9}}
    (engines / "segment-b" / "manifest.json").write_text(json.dumps(manifest))
    inference = settings.inference.model_copy(update={"engines_dir": engines, "deadline_ms": 60_000.0})
    assert settings.source is not None
    source = settings.source.model_copy(update={"defects_per_m": 6.0})
    changed = settings.model_copy(update={"inference": inference, "alarm": RULES, "source": source})
    with live_service(changed, folder / "v.jsonl", 1500.0) as service:
        config = hmi_config(folder, service.publish, service.serve, service.commands)
        with running_hmi(config) as hmi, chromium() as browser:
            yield service, hmi, browser


def noted(page: Any) -> list[str]:
    """Return the list that gets the page's errors."""
    errors: list[str] = []
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: errors.append(said.text) if said.type == "error" and page not in examined else None,
    )
    return errors


def test_what_one_person_does_the_other_sees(settings: ServiceSettings, tmp_path: Path) -> None:
    with page_of(settings, tmp_path) as (_, hmi, browser):
        otto = logged_in(browser, hmi.url, "Otto Operator", "/alarms")
        eva = logged_in(browser, hmi.url, "Eva Engineer", "/alarms", color_scheme="dark")
        olga = logged_in(browser, hmi.url, "Olga Observer", "/alarms", viewport={"width": 390, "height": 844})
        errors = [noted(page) for page in (otto, eva, olga)]

        open_one = 'li.alarm[data-id^="any-defect/"][data-open="true"]'
        for page in (otto, eva, olga):
            page.locator(open_one).wait_for()
        assert olga.locator(f"{open_one} button").count() == 0
        assert olga.locator(f"{open_one} svg.priority").get_attribute("aria-label") == "urgent"
        assert not findings(otto)
        assert not findings(eva)
        assert not findings(olga)

        assert eva.locator("html").get_attribute("data-sounding") == ""
        eva.locator("#sound").click()
        eva.locator('html[data-sounding="urgent"]').wait_for()
        eva.locator("#silence").click()
        eva.locator('html[data-sounding=""]').wait_for()

        otto.locator(f'{open_one} [data-does="acknowledge"]').click()
        for page in (otto, eva, olga):
            page.locator('li.alarm[data-id^="any-defect/"]:not([data-open="true"])').or_(
                page.locator("#standing .empty")
            ).first.wait_for()
        assert otto.locator(".toast").first.text_content() == "Acknowledged."

        otto.locator(open_one).or_(otto.locator('[data-id^="any-defect/"]')).first.wait_for()
        otto.locator('[data-id^="any-defect/"] [data-does="shelve"]').click()
        otto.locator("dialog button.main").click()
        assert otto.locator("dialog input[name=comment]:invalid").count() == 1, "a reason is needed"
        otto.fill("dialog input[name=comment]", "<b>tests</b>")
        assert not findings(otto)
        otto.locator("dialog button.main").click()
        shelf = '#held li.alarm[data-id="any-defect"]'
        for page in (otto, eva, olga):
            page.locator(shelf).wait_for()
            assert "<b>tests</b>" in page.locator(shelf).text_content()
            assert "Otto Operator" in page.locator(shelf).text_content()
        eva.reload()
        eva.locator(f'{shelf} [data-does="unshelve"]').click()
        for page in (otto, eva, olga):
            page.locator(shelf).wait_for(state="detached")
        assert errors == [[], [], []]


def test_an_engineer_tries_an_engine_and_the_system_page_tells_all(settings: ServiceSettings, tmp_path: Path) -> None:
    with page_of(settings, tmp_path) as (service, hmi, browser):
        otto = logged_in(browser, hmi.url, "Otto Operator", "/engines")
        eva = logged_in(browser, hmi.url, "Eva Engineer", "/engines")
        errors = [noted(page) for page in (otto, eva)]
        otto.locator("#running .card").nth(2).wait_for()
        assert otto.locator("#load, #rollback").count() == 0

        eva.locator("#load:enabled").click()
        eva.locator("dialog select").select_option("segment-b")
        eva.locator("dialog button.main").click()
        for page in (otto, eva):
            page.locator("#pairs li figure").nth(1).wait_for(timeout=300_000)  # a trial has the lowest priority
            image = page.locator("#pairs img").first
            wait_until(lambda image=image: image.evaluate("one => one.naturalWidth") == 256)
            assert page.locator("#pairs path").count() > 0
            assert not findings(page)
        eva.locator("#outlines").click()
        assert eva.locator("#pairs svg").first.is_hidden()
        eva.locator("#trial button.main").click()
        eva.locator("dialog button.main").click()
        promoted = eva.locator("#running b", has_text="segment-b").or_(eva.locator(".toast[data-kind=bad]"))
        promoted.first.wait_for()
        if eva.locator("#running b", has_text="segment-b").count():
            back = eva.locator("#rollback:enabled")
            back.or_(eva.locator("#trial .note.bad")).first.wait_for()  # the latter: it was withdrawn on a busy host
            if back.count():
                back.click()
                eva.locator("dialog button.bad").click()
            wait_until(lambda: service.service.exchange.back_to is None)
        else:  # it agreed with the running one on too little, and the page says so
            assert "agrees with the running one" in eva.locator(".toast[data-kind=bad]").first.text_content()
            eva.locator("#trial .does button", has_text="Drop").click()
            eva.locator("dialog button.main").click()
            eva.locator("#differences[hidden]").wait_for(state="attached")

        eva.goto(f"{hmi.url}/system")
        eva.locator('.stage:has-text("capture")').wait_for()
        for stage in ("cascade", "engines × 2", "decision", "outlet", "commands"):
            assert eva.locator(".stage > b").get_by_text(stage, exact=True).count() == 1
        wait_until(lambda: "0.0" not in eva.locator('.stage:has-text("capture") .rate').text_content())
        eva.locator("#disks .meter").wait_for()
        assert "hmi" in eva.locator("#bridges").text_content()
        eva.locator("#picture tr").nth(5).wait_for()
        assert not findings(eva)
        eva.locator("#language").select_option("de")
        eva.locator('.stage:has-text("Aufnahme")').wait_for()
        assert "Neueste Störungen" in eva.locator("main").text_content()
        eva.locator("#theme").click()
        assert not findings(eva)
        eva.goto(f"{hmi.url}/journal")
        assert not findings(eva)
        assert errors == [[], []]
