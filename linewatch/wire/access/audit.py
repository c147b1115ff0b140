"""The audit trail of commands: who asked for what, when, from where, and with which outcome.

A line of a file for each command, which nothing but the trail itself removes: the newest `FILES_KEPT` files stay. The
lines of each start of the service are numbered from 0, so a line that is missing is noticed.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from linewatch.contracts.access import Caller
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import AlarmReply, Command, ErrorReply, Message

log = structlog.get_logger()

FILE_BYTES: Final = 8 << 20
FILES_KEPT: Final = 16
ONE_BY_ONE: Final = 60
"""Commands of a kind that are written one by one in `WINDOW_S`; of the others a sum is written."""
WINDOW_S: Final = 60.0
MOST_KINDS: Final = 256
_NAME: Final = "audit-{:020d}.jsonl"


def facts_of(caller: Caller, peer: str, command: Command | None, reply: Message) -> dict[str, Any]:
    """Return what is told of a command and its reply. command: None when the request was not valid."""
    refused = isinstance(reply, ErrorReply)
    asked = command.model_dump(mode="json", exclude={"schema_version"}) if command else None
    return {
        "key": caller.key,
        "role": caller.role,
        "peer": peer,
        "what": f"{asked['request']} {asked.get('action') or ''}".strip() if asked else "no valid command",
        "asked": asked,
        "outcome": reply.error if isinstance(reply, ErrorReply) else "accepted",
        "why": reply.text if isinstance(reply, ErrorReply) and refused else None,
        "changed": [alarm.id for alarm in reply.changed] if isinstance(reply, AlarmReply) else None,
    }


@dataclass(slots=True)
class _Kind:
    began_s: float
    written: int = 0
    more: int = 0
    last: dict[str, Any] | None = None


class AuditTrail:
    """Used by one thread. `write` gets what appends a line to the file, which may hang or fail."""

    def __init__(self, folder: Path, write: Callable[[Callable[[], None]], object]) -> None:
        """folder: made with the first line. write: calls the function now or later, in order, until it succeeds."""
        self._folder, self._write = folder, write
        self._start_ns, self._number = time.time_ns(), 0
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._path: Path | None = None
        self._line({"event": "started"})

    def close(self) -> None:
        """Write the sums, and the end."""
        self.write_sums(last=True)
        self._line({"event": "ended"})

    def take(self, facts: dict[str, Any]) -> None:
        """Write a command, or count it where many of its kind come."""
        name = tuple(str(facts[field]) for field in ("key", "role", "peer", "what", "outcome"))
        if name not in self._kinds and len(self._kinds) >= MOST_KINDS:
            name = ("others",)
        kind = self._kinds.setdefault(name, _Kind(time.monotonic()))
        if kind.written < ONE_BY_ONE:
            kind.written += 1
            self._line({"event": "command", **facts})
        else:
            kind.more += 1
            kind.last = facts

    def write_sums(self, *, last: bool = False) -> None:
        """Write a sum of each kind that was counted for long enough; `last`: of all. Call it once a second or so."""
        now_s = time.monotonic()
        for name, kind in list(self._kinds.items()):
            if not last and now_s - kind.began_s < WINDOW_S:
                continue
            if kind.last is not None:
                within_s = round(now_s - kind.began_s, 1)
                self._line({"event": "command", **kind.last, "more": kind.more, "within_s": within_s})
            del self._kinds[name]

    def _line(self, facts: dict[str, Any]) -> None:
        now_ns = time.time_ns()
        at = datetime.fromtimestamp(now_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        line = {"start_ns": self._start_ns, "number": self._number, "at": at, "at_unix_ns": now_ns, **facts}
        self._number += 1
        self._write(partial(self._append, json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n", now_ns))

    def _append(self, line: bytes, now_ns: int) -> None:
        """Append a line to disk, whole or not at all. Raises OSError."""
        if self._path is None or not self._path.exists() or self._path.stat().st_size + len(line) > FILE_BYTES:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._path = self._folder / _NAME.format(now_ns)
            for old in audit_files(self._folder)[: -(FILES_KEPT - 1)]:
                old.unlink(missing_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            size = os.fstat(file).st_size
            try:
                if os.write(file, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)


def audit_files(folder: Path) -> list[Path]:
    """Return the files of an audit trail, the oldest first."""
    return sorted(folder.glob(_NAME.replace("{:020d}", "*")))


def read_audit(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of an audit trail, the oldest first, and where some are missing a line `{"missing": count}`.

    count: None where it cannot be known. Raises WireError when there is no audit trail.
    """
    files = audit_files(folder)
    if not files:
        raise WireError(f"{folder} has no audit-*.jsonl; expected the folder `audit` in the service's [journal] dir")
    due: tuple[int, int] | None = None  # start and number of the next line
    for path in files:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise WireError(f"{path} cannot be read: {error.strerror}") from error
        for text in lines:
            try:
                line = json.loads(text)
                here = int(line["start_ns"]), int(line["number"])
            except (ValueError, KeyError, TypeError, RecursionError):
                yield {"missing": None}
                continue
            if due is not None and here != due:
                if here[0] == due[0]:
                    yield {"missing": here[1] - due[1]}
                elif here[1]:
                    yield {"missing": None}
            due = here[0], here[1] + 1
            yield line


def log_command(facts: dict[str, Any]) -> None:
    """Log a command, too. Of many of a kind, `linewatch.logs` writes sums; the audit trail tells more of them."""
    (log.info if facts["outcome"] == "accepted" else log.warning)("command", **facts)
