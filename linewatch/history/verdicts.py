"""A coil out of a verdict file, in one reading and with masks of the worst defects only."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from linewatch.contracts.alarm import Alarm
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilGrade, CoilState, CoverageSpan, Defect, DefectState, RollMark
from linewatch.history.coil import ClassSeverities, CoilRecord, EngineUse
from linewatch.wire.encode import alarm_from, defect_from, grade_from, roll_mark_from
from linewatch.wire.schema import CoilLine, DefectLine, VerdictLine
from linewatch.wire.verdict_file import read_strip

NAMED_COILS = 10
MASKS = 40
"""So many are kept, if the caller does not say otherwise."""


def read_coil(path: Path, severities: ClassSeverities, coil: str | None = None, *, masks: int = MASKS) -> CoilRecord:
    """The coil of that name, or the only one, with the masks of its `masks` worst defects.

    Where it passes several times, the last passage is read and a note says so. Raises JournalError when the file is no
    verdict file, ConfigError when it does not hold the coil, or several and none is named.
    """
    passage: _Passage | None = None
    names: dict[str, int] = {}  # passages of each
    under_camera: str | None = None
    for line in read_strip(path):
        if line.coil != under_camera or (isinstance(line, CoilLine) and line.state is CoilState.STARTED):
            names[line.coil] = names.get(line.coil, 0) + 1
            under_camera = line.coil
            if line.coil == coil or (coil is None and len(names) == 1):
                passage = _Passage(line, severities, masks)
        if passage is not None and line.coil == passage.coil:
            passage.add(line)
    if passage is None or (coil is None and len(names) > 1):
        raise _not_there(path, coil, list(names))
    record = passage.record(f"{path.name}, written {_written(path)}")
    if names[record.coil] > 1:
        note = f"This coil passes {names[record.coil]} times in {path.name}; this is the last passage."
        record = replace(record, notes=(*record.notes, note))
    return record


def _not_there(path: Path, coil: str | None, names: list[str]) -> ConfigError:
    if not names:
        return ConfigError(f"{path} holds no decision; expected what `linewatch replay --out` wrote")
    more = f" and {len(names) - NAMED_COILS} more" if len(names) > NAMED_COILS else ""
    held = ", ".join(repr(name) for name in names[:NAMED_COILS]) + more
    if coil is None:
        return ConfigError(f"{path} holds {len(names)} coils: {held}; name one of them")
    return ConfigError(f"{path} does not hold coil {coil!r}; expected one of {held}")


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")


_Part = tuple[int, tuple[int, ...]]  # a frame's first line, and its runs as they stand in the file


def _mask(parts: Iterable[_Part]) -> np.ndarray:
    runs = [np.array(flat, np.int32).reshape(-1, 3) + np.array([first, 0, 0], np.int32) for first, flat in parts]
    return np.concatenate(runs)


class _Passage:
    """Everything of one passage, line by line; masks of open defects and of the worst closed ones."""

    def __init__(self, first: VerdictLine | CoilLine, severities: ClassSeverities, masks: int) -> None:
        self.coil = first.coil
        self._first = first
        self._severities = severities
        self._kept = masks
        self._ended = False
        self._grade: CoilGrade | None = None
        self._rolls: dict[str, RollMark] = {}
        self._encoded = True
        self._length_mm = 0.0
        self._spans: list[CoverageSpan] = []
        self._edges: list[tuple[float, float]] = []
        self._closed: list[Defect] = []
        self._open: dict[str, DefectLine] = {}
        self._grown_into: dict[str, str] = {}
        self._parts: defaultdict[str, list[_Part]] = defaultdict(list)
        self._worst: list[tuple[tuple[int, float, float, str], str]] = []  # a heap, the least bad first
        self._alarms: list[Alarm] = []
        self._engines: dict[tuple[int, str], float] = {}  # by place in the cascade

    def add(self, line: VerdictLine | CoilLine) -> None:
        if isinstance(line, VerdictLine):
            self._frame(line)
        elif line.state is CoilState.ENDED:
            self._ended = True
            self._grade = grade_from(line.grade) if line.grade is not None else None
            self._length_mm = max(self._length_mm, line.along_mm)
        # Those that grew into another one give it their masks before it closes.
        for event in sorted(line.defects, key=lambda one: (one.state is DefectState.CLOSED, one.merged_into is None)):
            self._defect(event)
        self._alarms += [alarm_from(alarm) for alarm in line.alarms]
        self._rolls |= {body.id: roll_mark_from(body) for body in line.roll_marks}

    def record(self, source: str) -> CoilRecord:
        still_open = [defect_from(event) for event in self._open.values()]
        for defect in still_open:
            self._keep_mask(defect)
        widths = [right - left for left, right in self._edges]
        return CoilRecord(
            coil=self.coil,
            side=self._first.side,
            camera=self._first.camera,
            source=source,
            severities=self._severities,
            length_mm=self._length_mm,
            complete=self._ended,
            encoded=self._encoded,
            strip_mm=(min(left for left, _ in self._edges), max(right for _, right in self._edges)) if widths else None,
            width_mm=median(widths) if widths else None,
            spans=tuple(self._spans),
            defects=(*self._closed, *still_open),
            still_open=frozenset(self._open),
            masks={name: _mask(parts) for _, name in self._worst if (parts := self._parts.get(name))},
            alarms=tuple(self._alarms),
            grade=self._grade,
            roll_marks=tuple(self._rolls.values()),
            engines=tuple(EngineUse(name, place, mm) for (place, name), mm in sorted(self._engines.items())),
        )

    def _frame(self, line: VerdictLine) -> None:
        self._encoded = self._encoded and line.encoded
        self._length_mm = max(self._length_mm, line.along_mm[1])
        if line.strip_mm is not None:
            self._edges.append(line.strip_mm)
        for served in enumerate(line.engines):
            passed_mm = line.along_mm[1] - line.along_mm[0]
            self._engines[served] = self._engines.get(served, 0.0) + passed_mm
        for body in line.spans:
            span = CoverageSpan(body.first_line, body.lines, body.along_mm, body.quality, body.cause)
            self._spans[-1:] = joined([*self._spans[-1:], span])

    def _defect(self, event: DefectLine) -> None:
        name = self._survivor(event.id)
        if event.runs and event.mask is not None and self._kept:
            self._parts[name].append((event.mask.first_line, event.runs))
        if event.state is not DefectState.CLOSED:
            self._open[event.id] = event
            return
        self._open.pop(event.id, None)
        if event.merged_into is None:
            self._closed.append(defect_from(event))
            self._keep_mask(self._closed[-1])
            return
        target = self._survivor(event.merged_into)
        if target == event.id:
            return  # no service says so, a file may
        self._grown_into[event.id] = target
        if parts := self._parts.pop(event.id, None):
            self._parts[target] += parts

    def _survivor(self, name: str) -> str:
        while name in self._grown_into:
            name = self._grown_into[name]
        return name

    def _keep_mask(self, defect: Defect) -> None:
        if defect.id not in self._parts:
            return
        one = (self._severities.badness(defect), defect.id)
        if len(self._worst) < self._kept:
            heapq.heappush(self._worst, one)
        else:
            _, dropped = heapq.heappushpop(self._worst, one)
            self._parts.pop(dropped, None)


def joined(spans: Iterable[CoverageSpan]) -> Iterator[CoverageSpan]:
    """Neighbours that were looked at alike as one span."""
    last: CoverageSpan | None = None
    for span in spans:
        alike = last is not None and (last.quality, last.cause) == (span.quality, span.cause)
        if last is not None and alike and last.first_line + last.lines == span.first_line:
            last = replace(last, lines=last.lines + span.lines, along_mm=(last.along_mm[0], span.along_mm[1]))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
