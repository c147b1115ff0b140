"""Find every event that the code logs, and render the table of docs/reference/log-events.md.

Names, levels and fields come from the code; what an event means and what to do come from `linewatch.hmi.faults` and
tools/log_events.toml.
"""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from linewatch.hmi.faults import FAULTS

PACKAGE: Final = Path(__file__).parents[1] / "linewatch"
TEXTS: Final = Path(__file__).with_suffix(".toml")
LEVELS: Final = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}
NOT_TOLD: Final = {"exc_info", "stack_info"}

SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "The service of a camera": ("capture", "daemon", "inference"),
    "Journal and wire, of a service and of a joined strip": ("journal", "wire"),
    "A joined strip": ("strip",),
    "The history": ("history",),
    "The page": ("hmi",),
    "The bridges to the plant": ("plant",),
    "Every process": ("monitoring", "signals", "cli"),
    "The queue of trainings": ("evaluation",),
}
"""The rooms whose events stand below each heading."""

HEAD: Final = """\
# Events in the logs

Made from the code by `make reference`. Each line of a log is a JSON object on standard error, so in the journal of the
host: `journalctl -u linewatch -o cat`. `event` names what happened, `level` how bad it is, `timestamp` when, in UTC.
An event tells of a change of state, not of a frame, so a healthy line logs a few lines a coil. What repeats is logged
some times and then summed: such a line has `more`, the number of further ones, and `within_s`, the time in which they
came. A line that was renamed has its former name as `formerly`.

`coil` and `ordinal` (the frame's number in its coil) lead from a line to the record: `linewatch history defects COIL`.
The page shows the newest warnings and errors of a service in plain words under *System*.
"""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event. room: the folder of linewatch/ that logs it, or the module."""

    name: str
    room: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]


@cache
def found_events() -> dict[str, LogEvent]:
    """Return the events whose names stand where they are logged, by name."""
    events: dict[str, LogEvent] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not (told := _levels(node.func)):
                continue
            fields = tuple(one.arg for one in node.keywords if one.arg and one.arg not in NOT_TOLD)
            for name in _names(node.args[0]):
                before = events.get(name, LogEvent(name, room, (), ()))
                levels = tuple(dict.fromkeys((*before.levels, *told)))
                events[name] = LogEvent(name, before.room, levels, tuple(dict.fromkeys((*before.fields, *fields))))
    return events


def _levels(called: ast.expr) -> tuple[str, ...]:
    """Return the levels of a call of a module's `log`: one, or two where a condition chooses; none where it is none."""
    if isinstance(called, ast.IfExp):
        return (*_levels(called.body), *_levels(called.orelse))
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log":
        return (LEVELS[called.attr],) if called.attr in LEVELS else ()
    return ()


def _names(argument: ast.expr) -> Iterator[str]:
    branches = (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)
    for branch in branches:
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield branch.value


def all_events() -> dict[str, LogEvent]:
    """Return every event by name, with those of tools/log_events.toml whose names, levels or fields stand elsewhere."""
    events = dict(found_events())
    for name, one in tomllib.loads(TEXTS.read_text())["elsewhere"].items():
        events[name] = LogEvent(name, one["room"], (one["level"],), tuple(one["fields"]))
    return events


def texts() -> dict[str, tuple[str, str]]:
    """Return what each event means and what to do, by name."""
    return dict(FAULTS) | {name: (means, do) for name, (means, do) in tomllib.loads(TEXTS.read_text())["texts"].items()}


def log_page() -> str:
    """Return the page of every event."""
    events, told = all_events(), texts()
    parts = [HEAD]
    for heading, rooms in SECTIONS.items():
        parts.append(f"\n## {heading}\n\n| event | level | fields | means | what to do |\n|---|---|---|---|---|\n")
        for event in sorted((one for one in events.values() if one.room in rooms), key=lambda one: one.name):
            means, do = told[event.name]
            fields = ", ".join(f"`{field}`" for field in event.fields)
            parts.append(f"| `{event.name}` | {', '.join(event.levels)} | {fields} | {means} | {do} |\n")
    return "".join(parts)
