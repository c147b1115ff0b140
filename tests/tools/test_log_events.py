"""The table of log events holds every event of the code, no other, and what to do about each fault."""

import ast
import tomllib

from tools.log_events import FAULTS, LEVELS, PACKAGE, SECTIONS, TEXTS, all_events, found_events, log_page, texts


def test_every_event_has_a_meaning_and_every_meaning_an_event() -> None:
    events = all_events()
    assert {"camera_lost", "camera_absent", "shedding", "command", "running"} <= events.keys(), "events were found"
    lacking = sorted(events.keys() - texts().keys())
    assert not lacking, f"say in tools/log_events.toml what these mean, and what to do: {lacking}"
    stale = sorted(texts().keys() - events.keys())
    assert not stale, f"these are logged no longer; take them out of tools/log_events.toml or hmi/faults.py: {stale}"


def test_an_event_is_explained_in_one_place() -> None:
    assert not FAULTS.keys() & tomllib.loads(TEXTS.read_text())["texts"].keys()


def test_what_asks_for_somebody_says_what_to_do() -> None:
    told = texts()
    for event in all_events().values():
        if "error" in event.levels:
            assert told[event.name][1], f"{event.name}: say what to do"


def test_every_event_is_on_the_page_once() -> None:
    page = log_page()
    for name, event in all_events().items():
        assert page.count(f"\n| `{name}` |") == 1, f"{name}: no section of SECTIONS has the room {event.room}"
    assert len({room for rooms in SECTIONS.values() for room in rooms}) == sum(map(len, SECTIONS.values()))


def test_what_stands_elsewhere_is_in_the_code_and_not_found_already() -> None:
    strings = {
        node.value if isinstance(node.value, str) else node.value.decode(errors="ignore")
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    }
    found = found_events()
    for name in tomllib.loads(TEXTS.read_text())["elsewhere"]:
        assert any(name in one for one in strings), f"{name}: no such event"
        assert name not in found or not found[name].fields, f"{name}: the code names it where it logs it"


def test_no_event_is_logged_in_a_way_that_the_table_does_not_see() -> None:
    """A method of `log` that is kept under another name would hide its events."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        called = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Call) for part in ast.walk(node.func)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log":
                assert id(node) in called or node.attr not in LEVELS, f"{path}:{node.lineno}"
