"""Every page by keyboard alone, in Chromium: all that can be clicked can be reached and seen, and nothing traps."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hmi_process import PASSWORD, chromium, hmi_config, logged_in, needs_chromium, running_hmi
from live_service import live_service
from page_findings import noted
from stored_weeks import ROOT, WEEK_NS, Mill, history_toml
from waiting import wait_until

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import Priority
from linewatch.service_settings import ServiceSettings

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_chromium]

PATHS = (
    *(
        "/",
        "/alarms",
        "/journal",
        "/coils",
        "/coils/2",
        "/compare?a=1&b=2",
        "/trends",
        "/rolls",
        "/labels",
        "/defects/3",
    ),
    *("/engines", "/system"),
)
MOST_TABS = 400

MARK = """() => {
    const seen = one => one.checkVisibility({ visibilityProperty: true }) && !one.closest('[inert]');
    const first = new Map();
    let number = 0;
    for (const one of document.querySelectorAll(
        'a[href], button:not(:disabled), input:not(:disabled):not([type=hidden]), select:not(:disabled), ' +
        'textarea:not(:disabled), summary, [tabindex]')) {
        if (one.tabIndex < 0 || !seen(one)) continue;
        if (one.type === 'radio') {
            const group = one.form?.id + one.name;
            if (first.has(group)) continue;
            first.set(group, true);
        }
        one.dataset.stop = number++;
    }
    return number;
}"""
FOCUSED = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const is = getComputedStyle(one), box = one.getBoundingClientRect();
    const shown = is.outlineStyle !== 'none' && parseFloat(is.outlineWidth) >= 1 || is.boxShadow !== 'none';
    return {
        stop: one.dataset.stop ?? (one.type === 'radio' ? 'radio' : null), shown,
        inView: box.bottom > 0 && box.top < innerHeight,
        what: `${one.tagName} ${one.id} ${one.className} ${(one.textContent || one.name || '').trim().slice(0, 30)}`,
    };
}"""
UNMARKED = """stops => [...document.querySelectorAll('[data-stop]')].filter(one => !stops.includes(one.dataset.stop)
    && one.checkVisibility()).map(one => `${one.tagName} ${one.id} ${one.className} ${one.textContent.trim()}`)"""


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page over a history of a few coils with pictures, and a browser."""
    folder = tmp_path_factory.mktemp("keyboard")
    begun_ns = time.time_ns() - 2 * WEEK_NS
    coils = ((f"C26-{4000 + n}", begun_ns + n * WEEK_NS // 5, True) for n in range(4))
    Mill(f"sqlite:///{folder}/history.sqlite", folder / "images", pictures=6, seed=2).store(coils)
    nobody = f"ipc://{folder}/nobody"
    more = f'history = "{history_toml(folder)}"\nengines_dir = "{ROOT / "engines"}"\ntime_zone = "Europe/Berlin"'
    with running_hmi(hmi_config(folder, nobody, nobody, more=more)) as page, chromium() as browser:
        yield SimpleNamespace(url=page.url, browser=browser)


@pytest.mark.parametrize("path", PATHS)
def test_all_that_can_be_clicked_can_be_reached_and_seen_by_tab(mill: SimpleNamespace, path: str) -> None:
    page = logged_in(mill.browser, mill.url, "Eva Engineer", path.partition("?")[0])
    errors = noted(page)
    page.goto(f"{mill.url}{path}")
    page.locator("main").wait_for()
    wait_until(
        lambda: page.evaluate(MARK) == (page.wait_for_timeout(500), page.evaluate(MARK))[1] > 3
    )  # it has settled
    page.evaluate("document.activeElement.blur()")
    stops, hidden, before, ends = set[str](), set[str](), None, 0
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at is None:  # behind the last one: the browser itself has the focus; the page began where it put the focus
            ends += 1
            if ends == 2:
                break
            continue
        if not at["shown"] or not at["inView"]:
            hidden.add(at["what"])
        if at["stop"] in stops and at["stop"] not in (before, "radio"):  # a date is several stops in one
            break
        if (before := at["stop"]) is not None:
            stops.add(before)
    assert not hidden, "the focus cannot be seen there"
    assert page.evaluate(UNMARKED, list(stops)) == []
    assert errors == []
    page.context.close()


def test_a_person_logs_in_by_keyboard(mill: SimpleNamespace) -> None:
    page = mill.browser.new_context().new_page()
    page.goto(f"{mill.url}/login?next=/coils")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.type("Eva Engineer")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/coils")


def focus(page: Any, selector: str) -> None:
    """Move the focus there by Tab alone."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached")


def test_alarms_are_handled_by_keyboard_and_the_focus_is_not_lost(
    mill: SimpleNamespace, settings: ServiceSettings, tmp_path: Path
) -> None:
    assert settings.source is not None
    rule = AlarmRule(name="any-defect", priority=Priority.URGENT)
    source = settings.source.model_copy(update={"defects_per_m": 6.0})
    changed = settings.model_copy(update={"alarm": (rule,), "source": source})
    with live_service(changed, tmp_path / "v.jsonl", 500.0) as service:
        config = hmi_config(tmp_path, service.publish, service.serve, service.commands)
        with running_hmi(config) as hmi:
            page = logged_in(mill.browser, hmi.url, "Otto Operator", "/alarms")
            errors = noted(page)
            open_one = 'li.alarm[data-id^="any-defect/"][data-open="true"]'
            page.locator(open_one).wait_for()
            focus(page, '[data-does="shelve"]')
            page.keyboard.press("Enter")
            page.locator("dialog[open]").wait_for()
            assert page.evaluate("document.activeElement.closest('dialog') !== null"), "the focus is in the dialog"
            page.keyboard.press("Escape")
            page.locator("dialog[open]").wait_for(state="detached")
            assert page.evaluate("document.activeElement.dataset.does") == "shelve", "and back where it was"
            focus(page, f'{open_one} [data-does="acknowledge"]')
            page.keyboard.press("Enter")
            page.locator(".toast", has_text="Acknowledged.").wait_for()
            assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost with the button"
            assert errors == []
            page.context.close()
