"""The newest faults of this process: a bounded list of the warnings and errors in its log, for the status."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from structlog.typing import EventDict, WrappedLogger

MOST: Final = 12
"""How many faults are kept: the newest, one for each event."""
MOST_TEXT: Final = 240
"""How many characters are kept of what an event says."""

ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "blind_ended": ("blind",),
    "calibration_in_force": ("calibration_refused",),
    "camera_answers": ("camera_not_answering",),
    "camera_open": ("camera_lost", "camera_absent", "camera_still_away", "camera_hangs", "camera_failed"),
    "canary_found": ("canary_lost",),
    "coil_folder_recovered": ("coil_folder_failed",),
    "encoder_plausible_again": ("encoder_implausible",),
    "engine_recovered": ("engine_failing",),
    "inspection_resumed": ("lines_missed",),
    "journal_kept_again": ("journal_lost",),
    "rules_reloaded": ("rules_refused", "restart_needed"),
    "shedding_ended": ("shedding",),
    "stages_recovered": ("stage_silent",),
    "start_goes_on": ("start_waits",),
}
"""The events that end a fault, with the events that began it."""

NO_FAULT: Final = frozenset({"command"})
"""Warnings that tell of no fault of this process: a command that was refused is in the audit trail."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault, as the log tells of it. count: since the process started."""

    event: str
    error: bool  # False: a warning
    count: int
    first_unix_ns: int
    last_unix_ns: int
    text: str  # the newest event's fields
    over_unix_ns: int | None = None  # when it ended; None: it goes on, or nothing tells that it ended


class NewestFaults:
    """A structlog processor that keeps the newest faults and changes no event. Thread-safe."""

    def __init__(self, now_unix_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_unix_ns = now_unix_ns
        self._lock = Lock()
        self._faults: dict[str, Fault] = {}  # the newest last
        self._shown: tuple[Fault, ...] = ()

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Note the event, and return it unchanged."""
        name = event["event"]
        if event.get("_is_sum"):  # each event of a sum was noted when it came, and its fault may be over since
            return event
        if (begun := ENDS.get(name)) is not None:
            self._end(begun)
        elif method in ("warning", "error", "critical", "exception") and name not in NO_FAULT:
            self._note(name, method != "warning", event)
        return event

    @property
    def newest(self) -> tuple[Fault, ...]:
        """The faults, the newest first; the same object while nothing has changed."""
        return self._shown

    def _note(self, name: str, error: bool, event: EventDict) -> None:
        now, text = self._now_unix_ns(), _text_of(event)
        with self._lock:
            before = self._faults.pop(name, None)
            first, count = (now, 0) if before is None else (before.first_unix_ns, before.count)
            self._faults[name] = Fault(name, error, count + 1, first, now, text)
            while len(self._faults) > MOST:
                del self._faults[next(iter(self._faults))]
            self._show()

    def _end(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                if (fault := self._faults.get(name)) is not None and fault.over_unix_ns is None:
                    self._faults[name] = replace(fault, over_unix_ns=self._now_unix_ns())
            self._show()

    def _show(self) -> None:
        self._shown = tuple(reversed(self._faults.values()))


def _plain(value: object) -> str:
    """Return a value as people write it, not as Python does."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _text_of(event: EventDict) -> str:
    """Return what the event says, on one line of printable characters."""
    fields = ", ".join(
        f"{name}: {_plain(value)}"
        for name, value in event.items()
        if name not in ("event", "exc_info", "stack_info") and value is not None
    )
    return "".join(one if one.isprintable() else " " for one in fields[:MOST_TEXT])
