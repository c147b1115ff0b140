"""Reads coil records from a verdict file."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from linewatch.contracts.alarm import Alarm
from linewatch.contracts.defect_fields import flat_of, to_columns
from linewatch.contracts.errors import ConfigError, JournalError
from linewatch.contracts.verdict import CoilGrade, CoilState, DefectState, RollMark, RunMask
from linewatch.history.spans import Coverage
from linewatch.review.coil_record import (
    CoilRecord,
    Identity,
    MaskSelection,
    alarms_of_coil,
    median_width_mm,
    no_masks,
    runs_from_head,
)
from linewatch.review.defect_table import REPORTED_COLUMNS, PhysicalDefects, ReportedColumns
from linewatch.wire.decode import alarm_from, grade_from, roll_mark_from, span_from
from linewatch.wire.schema import AlarmsLine, CoilLine, DefectLine, VerdictLine
from linewatch.wire.verdict_file import read_verdicts

NAMED_COILS = 10
ROWS_AT_ONCE = 4_096


def read_coils(path: Path, coil: str | None = None, masked: MaskSelection = no_masks) -> Iterator[CoilRecord]:
    """Read every passage, or those of the named coil, in the file's order.

    Raises JournalError when the file is no verdict file or holds no coil, ConfigError when it lacks the named coil.
    """
    names: Counter[str] = Counter()
    for passage in _passages(path, coil, names):
        yield passage.record(path, masked)
    if coil not in (None, *names) or not names:
        raise _not_there(path, coil, list(names))


def read_coil(path: Path, coil: str | None = None, masked: MaskSelection = no_masks) -> CoilRecord:
    """Read the named coil, or the only one. Of several passages, it is the last one, and a note says so.

    Raises as `read_coils` does, and ConfigError when the file holds several coils and none is named.
    """
    names: Counter[str] = Counter()
    last: _Passage | None = None
    for last in _passages(path, coil, names):  # noqa: B007 - the last one is wanted
        pass
    if last is None or (coil is None and len(names) > 1):
        raise _not_there(path, coil, list(names))
    record = last.record(path, masked)
    if names[record.coil] > 1:
        note = f"This coil passes {names[record.coil]} times in {path.name}; this is the last passage."
        record = replace(record, notes=(*record.notes, note))
    return record


def _not_there(path: Path, coil: str | None, names: list[str]) -> ConfigError | JournalError:
    if not names:
        return JournalError(f"{path}: holds no coil; expected what `linewatch replay --out` wrote")
    more = f" and {len(names) - NAMED_COILS} more" if len(names) > NAMED_COILS else ""
    held = ", ".join(repr(name) for name in names[:NAMED_COILS]) + more
    if coil is None:
        return ConfigError(f"{path} holds {len(names)} coils: {held}; name one of them")
    return ConfigError(f"{path} does not hold coil {coil!r}; expected one of {held}")


def _passages(path: Path, coil: str | None, names: Counter[str]) -> Iterator["_Passage"]:
    """Yield each wanted passage once its last line was read; count all passages by coil in `names`."""
    passage: _Passage | None = None
    under_camera: tuple[str, str, str] | None = None
    for line in read_verdicts(path):
        if isinstance(line, AlarmsLine):
            if passage is not None:
                passage.alarms += [alarm_from(alarm) for alarm in line.alarms]
            continue
        key = (line.coil, line.side, line.camera)
        if key != under_camera or (isinstance(line, CoilLine) and line.state is CoilState.STARTED):
            if passage is not None:
                yield passage
            under_camera = key
            names[line.coil] += 1
            passage = _Passage(line) if coil in (None, line.coil) else None
        if passage is not None:
            passage.add(line)
    if passage is not None:
        yield passage


class _Passage:
    """Gathers one passage line by line."""

    def __init__(self, first: VerdictLine | CoilLine) -> None:
        self.alarms: list[Alarm] = []
        self._first = first
        self._ended = False
        self._grade: CoilGrade | None = None
        self._rolls: dict[str, RollMark] = {}
        self._periodic: set[str] = set()
        self._excluded_mm = (0.0, 0.0)
        self._encoded = True
        self._calibrations: dict[str, None] = {}  # in the order in which they were told
        self._length_mm = 0.0
        self._coverage = Coverage()
        self._edges: tuple[float, float] | None = None
        self._widths: Counter[int] = Counter()
        self._reported = ReportedColumns()
        self._closed: list[tuple[Any, ...]] = []  # reports that are not yet in those columns
        self._open: dict[str, DefectLine] = {}
        self._mask_dropped: set[str] = set()
        self._runs = array("i")  # of all masks, concatenated
        self._parts: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)  # first line, span in `_runs`

    def add(self, line: VerdictLine | CoilLine) -> None:
        if isinstance(line, VerdictLine):
            self._frame(line)
        elif line.state is CoilState.ENDED:
            self._ended = True
            self._grade = grade_from(line.grade) if line.grade is not None else None
            self._length_mm = max(self._length_mm, line.along_mm)
        if isinstance(line, CoilLine):
            self._excluded_mm = line.head_excluded_mm, line.tail_excluded_mm
        for event in line.defects:
            self._defect(event)
        self.alarms += [alarm_from(alarm) for alarm in line.alarms]
        for body in line.roll_marks:
            self._rolls[body.id] = roll_mark_from(body)
            self._periodic.update(body.defect_ids)

    def record(self, path: Path, masked: MaskSelection) -> CoilRecord:
        first = self._first
        self._closed += map(_reported, self._open.values())
        self._fill_columns()
        found = PhysicalDefects.among(first.coil, first.side, first.camera, self._reported)
        return CoilRecord(
            coil=first.coil,
            side=first.side,
            camera=first.camera,
            source=f"{path.name}, written {_written(path)}",
            defects=found.defects,
            length_mm=self._length_mm,
            complete=self._ended,
            encoded=self._encoded,
            strip_mm=self._edges,
            width_mm=median_width_mm(self._widths),
            spans=self._coverage.spans,
            still_open=found.still_open,
            masks=self._masks(set(masked(found.defects)), found.merged),
            mask_dropped=frozenset(found.merged.get(name, name) for name in self._mask_dropped),
            alarms=alarms_of_coil(first.coil, self.alarms),
            engines=self._coverage.engines,
            identities=tuple(Identity("calibration", one) for one in self._calibrations),
            grade=self._grade,
            excluded_mm=self._excluded_mm,
            roll_marks=tuple(self._rolls.values()),
            periodic=frozenset(self._periodic),
        )

    def _frame(self, line: VerdictLine) -> None:
        self._encoded = self._encoded and line.encoded
        self._calibrations |= dict.fromkeys(line.calibrations)
        self._length_mm = max(self._length_mm, line.along_mm[1])
        if line.strip_mm is not None:
            left, right = self._edges or line.strip_mm
            self._edges = min(left, line.strip_mm[0]), max(right, line.strip_mm[1])
            self._widths[round(line.strip_mm[1] - line.strip_mm[0])] += 1
        for body in line.spans:
            self._coverage.add(span_from(body), line.engines)
        self._coverage.put_right(map(span_from, line.corrections))

    def _defect(self, event: DefectLine) -> None:
        if event.runs and event.mask is not None:
            begin = len(self._runs)
            self._runs.extend(event.runs)
            self._parts[event.id].append((event.mask.first_line, begin, len(self._runs)))
        if event.mask_dropped:
            self._mask_dropped.add(event.id)
        if event.state is DefectState.CLOSED:
            self._open.pop(event.id, None)
            self._closed.append(_reported(event))
            if len(self._closed) >= ROWS_AT_ONCE:
                self._fill_columns()
        else:
            self._open[event.id] = event

    def _fill_columns(self) -> None:
        """Move the rows into columns: every garbage collection would visit hundreds of thousands of rows."""
        self._reported.add(zip(*self._closed, strict=True))
        self._closed = []

    def _masks(self, wanted: set[str], merged: dict[str, str]) -> dict[str, list[np.ndarray]]:
        runs = np.array(self._runs, np.int32)
        parts: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        owners = {name: owner for name, owner in merged.items() if owner in wanted} | {name: name for name in wanted}
        for name, places in self._parts.items():
            if name in owners:
                parts_read = (RunMask(first, runs[begin:end].reshape(-1, 3)) for first, begin, end in places)
                parts[owners[name]] += map(runs_from_head, parts_read)
        return dict(parts)


def _reported(event: DefectLine) -> tuple[Any, ...]:
    """Return the values of `REPORTED_COLUMNS`."""
    columns = to_columns(flat_of(event)) | {"state": event.state, "merged_into": event.merged_into}
    return tuple(columns[name] for name in REPORTED_COLUMNS)


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
