"""The page in Chromium over a real service: the strip moves, and whatever stops it is said on the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hmi_process import chromium, hmi_config, logged_in, needs_chromium, running_hmi
from live_service import live_service
from page_findings import findings, noted
from waiting import wait_until

from linewatch.contracts.access import Role
from linewatch.service_settings import ServiceSettings

pytestmark = [pytest.mark.service, needs_chromium]

HOSTILE = "<img src=x onerror=document.title='ran'>"
PEOPLE = {"Olga <b>Observer</b>": Role.OBSERVER}


@contextmanager
def watched(settings: ServiceSettings, tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the service, the process of the page, and a browser."""
    assert settings.source is not None
    source = settings.source.model_copy(update={"coil": HOSTILE})
    inference = settings.inference.model_copy(update={"deadline_ms": 60_000.0})
    changed = settings.model_copy(update={"source": source, "inference": inference})
    with live_service(changed, tmp_path / "v.jsonl", 1500.0) as service:
        config = hmi_config(tmp_path, service.publish, service.serve, service.commands, people=PEOPLE)
        with running_hmi(config) as hmi, chromium() as browser:
            yield service, hmi, browser


@pytest.mark.heavy
def test_the_page_says_whether_it_is_live(start_service: Any, tmp_path: Path) -> None:
    """Reload in mid-coil, back, a service that does not inspect, one that is silent, and the page's own server gone."""
    small = start_service()
    small.tell("coil started")
    small.tell("frames 5 8")
    (name,) = PEOPLE
    config = hmi_config(tmp_path, small.publish, small.serve, people=PEOPLE)
    with running_hmi(config) as hmi, chromium() as browser:
        page = logged_in(browser, hmi.url, name)
        errors = noted(page)
        page.locator("html[data-link=live]").wait_for()
        wait_until(lambda: page.locator("#coil").text_content() == "C1")
        wait_until(lambda: page.evaluate("defectsOnPage()") == 5)  # from before the page's process began
        small.tell("frames 3 8")
        wait_until(lambda: page.evaluate("stripMap.shownMm") == 8 * 256)
        small.tell("roll")
        page.locator("#roll-list tr").wait_for()
        page.reload()
        page.locator("html[data-link=live]").wait_for()
        wait_until(lambda: page.evaluate("defectsOnPage()") == 8)
        page.goto(f"{hmi.url}/nowhere")
        page.go_back()
        page.locator("html[data-link=live]").wait_for()
        assert not findings(page)

        assert page.locator("#banner").is_hidden()
        small.tell("ailing")
        page.locator("html[data-link=unhealthy] #banner:not([hidden])").wait_for()
        small.tell("mute")
        page.locator("html[data-link=silent] #stale:not([hidden])").wait_for()
        assert "nobody may be inspecting" in page.locator("#banner").text_content()
        assert float(page.locator("#map").evaluate("one => getComputedStyle(one).opacity")) < 0.5
        small.restart()
        page.locator("html[data-link=live]").wait_for()
        hmi.end()
        page.locator("html[data-link=lost] #stale:not([hidden])").wait_for()
        port = hmi.url.rpartition(":")[2]
        config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
        with running_hmi(config):  # it knows no sessions of before
            page.wait_for_url(f"{hmi.url}/login?next=/")
        assert errors == []


@pytest.mark.heavy
def test_an_inspector_sees_the_strip_of_a_real_service(settings: ServiceSettings, tmp_path: Path) -> None:
    with watched(settings, tmp_path) as (service, hmi, browser):
        (name,) = PEOPLE
        page = logged_in(browser, hmi.url, name)
        errors = noted(page)
        page.locator("html[data-link=live]").wait_for()
        wait_until(lambda: page.locator("#coil").text_content() == HOSTILE)
        page.locator("#newest tr").first.wait_for(timeout=60_000)
        page.locator(".camera canvas:not([hidden])").wait_for()
        before_mm = page.evaluate("stripMap.shownMm")
        wait_until(lambda: page.evaluate("stripMap.shownMm") > before_mm + 500)
        page.locator("#newest tr").first.click()
        page.locator("#defect-facts dd").first.wait_for()
        assert page.locator("#follow").get_attribute("aria-pressed") == "false"
        page.locator("#map").press("l")
        assert page.locator("#follow").get_attribute("aria-pressed") == "true"
        assert not findings(page)
        page.locator("#theme").click()
        assert not findings(page)
        known = page.evaluate("defectsOnPage()")
        page.reload()
        wait_until(lambda: page.evaluate("defectsOnPage()") >= known)
        page.locator("#language").select_option("de")
        page.locator("html[lang=de][data-link=live]").wait_for()
        service.stop()
        page.locator("html[data-link=silent] #banner:not([hidden])").wait_for()
        assert "niemand" in page.locator("#banner").text_content()
        assert page.title().startswith("Live")
        assert errors == []
