"""Structured logs: JSON lines for the journal of the host, coloured text on a terminal. One event per state change.

Whatever repeats is logged a bounded number of times and then summed, so that nothing that arrives can fill a disk.
"""

import atexit
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from linewatch.faults import Fault, NewestFaults

FORMER_NAMES: Final[dict[str, str]] = {
    "acknowledge_finished": "acknowledge",
    "allow_list_read": "allow_list",
    "coil_data_dropped": "coil_data_forgotten",
    "coil_expired": "coil expired",
    "coil_file_not_moved": "coil_file_stays",
    "coil_folder_failed": "coil_folder",
    "coil_folder_recovered": "coil_folder",
    "coil_order_skipped": "coil_order_left_out",
    "encoder_implausible": "encoder_not_believed",
    "encoder_plausible_again": "encoder_believed_again",
    "command_not_carried_out": "not_acknowledged",
    "engine_recovered": "engine_well_again",
    "history_closed": "history closed",
    "history_opened": "history open",
    "history_write_failed": "history not written",
    "image_archive_closed": "pictures closed",
    "image_folder_swept": "pictures swept",
    "image_storing_resumed": "pictures stored again",
    "image_storing_stopped": "pictures stopped",
    "inspection_resumed": "inspecting_again",
    "messages_lost": "messages lost",
    "non_image_files_skipped": "folder_strays_skipped",
    "service_not_answering": "service does not answer, asking again",
    "shedding_ended": "nothing_shed",
    "snapshot_unavailable": "no_snapshot",
    "stages_recovered": "stages_tick_again",
    "synchronised": "in_step_with_the_service",
    "timestamp_implausible": "time_not_believed",
}
"""Renamed events, by their new names. For one version their lines have the former name as `formerly`."""

FORMER_SUMS: Final[Mapping[str, str]] = FORMER_NAMES | {"command": "more_commands_refused"}
"""The same for sums of repeated events."""

SUM_INTERVAL_S: Final = 600.0
MOST_KINDS: Final = 64
"""Kinds of one event that are counted by themselves. Beyond it, more kinds are counted together."""
OTHERS: Final = "others"
"""Stands in a sum for the peers, keys and reasons that are counted together."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """How an event is logged that comes again and again.

    one_by_one: so many of one kind are logged in `SUM_INTERVAL_S`; the others are summed.
    kind: the fields whose values make a kind.
    """

    one_by_one: int
    kind: tuple[str, ...] = ()


FROM_OUTSIDE: Final[Mapping[str, Repeats]] = {
    "bridge_ended": Repeats(3, ("key",)),
    "bridge_reports": Repeats(3, ("key",)),
    "command": Repeats(20, ("key", "role", "what", "outcome")),  # all of them are in the audit trail
    "broker_lost": Repeats(3, ("broker", "face", "why")),
    "broker_unreachable": Repeats(3, ("broker", "face", "why")),
    "command_refused": Repeats(20, ("topic", "why")),
    "connection_closed": Repeats(1, ("socket", "peer", "why")),
    "handshake_failed": Repeats(1, ("socket", "peer", "why")),
    "key_refused": Repeats(1, ("fingerprint", "peer")),
    "opcua_client_disconnected": Repeats(1, ("peer", "why")),
    "opcua_client_refused": Repeats(3, ("peer", "why")),
    "opcua_events_dropped": Repeats(1),
    "opcua_session_closed": Repeats(3, ("peer", "user")),
    "opcua_session_opened": Repeats(3, ("peer", "user")),
    "opcua_sessions_full": Repeats(1),
    "opcua_user_refused": Repeats(3, ("peer",)),
    "plc_connected": Repeats(1, ("peer",)),
    "plc_connections_full": Repeats(1),
    "plc_disconnected": Repeats(1, ("peer", "why")),
    "plc_refused": Repeats(1, ("peer",)),
    "request_refused": Repeats(1, ("socket", "peer", "key", "outcome")),
}
"""The events that connections and messages from outside cause, each as often as it likes."""

ANY_OTHER: Final = Repeats(60)


@dataclass(slots=True)
class _Kind:
    """What came of one kind of an event since `began_s`. last: the newest that was not logged by itself."""

    began_s: float
    logged: int = 0
    more: int = 0
    method: str = "info"
    last: EventDict | None = None


class LogSums:
    """A structlog processor that drops an event once enough of its kind were logged, and logs sums of those dropped.

    A sum is the newest of the dropped events with `more`, how many were dropped, and `within_s`, the time in which they
    came. Each kind has at most one sum in `SUM_INTERVAL_S`. Thread-safe; memory and lines are bounded by `MOST_KINDS`
    for each event name.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = monotonic_s
        self._lock = Lock()
        self._kinds: dict[str, dict[tuple[str, ...], _Kind]] = {}
        self._due_s = float("inf")  # no sum is due before

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Return an event that is to be logged. Raises structlog.DropEvent for one that is only counted."""
        if event.pop("_is_sum", False):
            return event
        repeats = FROM_OUTSIDE.get(event["event"], ANY_OTHER)
        self.log_due()
        with self._lock:
            kind, shared = self._kind(event, repeats)
            if kind.logged < repeats.one_by_one:
                kind.logged += 1
                return event
            kind.more += 1
            kind.method = method
            kind.last = {name: value for name, value in event.items() if name not in ("exc_info", "stack_info")}
            if shared:
                kind.last |= dict.fromkeys(repeats.kind, OTHERS)
        raise structlog.DropEvent

    def log_due(self, *, last: bool = False) -> None:
        """Log the sums whose interval is over; `last`: all of them. Call it a few times a second."""
        now_s = self._now_s()
        if now_s < self._due_s and not last:
            return
        with self._lock:
            due = [
                (kinds, name, kind)
                for kinds in self._kinds.values()
                for name, kind in kinds.items()
                if last or now_s - kind.began_s >= SUM_INTERVAL_S
            ]
            sums = [(kind.method, kind.last, kind.more, now_s - kind.began_s) for *_, kind in due if kind.last]
            for kinds, name, kind in due:
                if kind.more:  # it goes on: in the next interval it is only counted
                    kind.began_s, kind.more, kind.last = now_s, 0, None
                elif now_s - kind.began_s >= SUM_INTERVAL_S:
                    del kinds[name]
            began_s = [kind.began_s for kinds in self._kinds.values() for kind in kinds.values()]
            self._due_s = min(began_s, default=float("inf")) + SUM_INTERVAL_S
        for method, newest, more, within_s in sums:
            fields = {name: value for name, value in newest.items() if name != "event"}
            log = getattr(structlog.get_logger(), method)
            log(newest["event"], **fields, more=more, within_s=round(within_s, 1), _is_sum=True)

    def _kind(self, event: EventDict, repeats: Repeats) -> tuple[_Kind, bool]:
        """Return the kind of an event, and whether it stands for several kinds."""
        kinds = self._kinds.setdefault(event["event"], {})
        name = tuple(str(event.get(field)) for field in repeats.kind)
        shared = name not in kinds and len(kinds) >= MOST_KINDS
        if shared:
            name = (OTHERS,) * len(repeats.kind)
        if name not in kinds:
            kinds[name] = _Kind(self._now_s())
            self._due_s = min(self._due_s, kinds[name].began_s + SUM_INTERVAL_S)
        return kinds[name], shared


class DecidedPlace:
    """A structlog processor that adds the coil and the frame decided last to an event that names no coil of its own."""

    def __init__(self) -> None:
        self._place: tuple[str, int] | None = None

    def move(self, coil: str, ordinal: int) -> None:
        """Frame `ordinal` of this coil is decided now."""
        self._place = coil, ordinal

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Add `coil` and `ordinal`."""
        if self._place is not None and "coil" not in event:
            event["coil"], ordinal = self._place
            event.setdefault("ordinal", ordinal)
        return event


_sums = LogSums()
_faults = NewestFaults()
_place = DecidedPlace()


def place_on_strip(coil: str, ordinal: int) -> None:
    """Say which frame of which coil is decided; from now on the lines of the log name it. Costs next to nothing."""
    _place.move(coil, ordinal)


def newest_faults() -> tuple[Fault, ...]:
    """Return the newest warnings and errors of this process's log, one for each event, the newest first."""
    return _faults.newest


def log_sums(*, last: bool = False) -> None:
    """Log what has been summed for long enough; `last`: everything. Call it a few times a second while a process runs.

    The end of the process calls it by itself.
    """
    _sums.log_due(last=last)


def configure_logs(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Log to stderr from now on. Call once, at the start of the process."""
    global _sums, _faults, _place
    _sums, _faults, _place = LogSums(), NewestFaults(), DecidedPlace()
    atexit.unregister(log_sums)
    atexit.register(log_sums, last=True)
    least = getattr(logging, level.upper())

    def keep_level(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if getattr(logging, method.upper()) < least:
            raise structlog.DropEvent
        return event

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(min(least, logging.INFO)),
        processors=[
            structlog.contextvars.merge_contextvars,
            _faults,  # whatever the level: before events are left out, or only counted
            keep_level,
            _sums,
            _place,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_former_name,
            *(
                [structlog.dev.ConsoleRenderer()]
                if sys.stderr.isatty()
                else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
            ),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def add_former_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the former name of an event that was renamed, for scripts that still wait for that one."""
    names = FORMER_SUMS if "more" in event else FORMER_NAMES
    if (former := names.get(event["event"])) is not None:
        event["formerly"] = former
    return event
