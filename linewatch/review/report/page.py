"""Renders the report as one HTML page without scripts and without network access.

The template engine escapes every string, as all of them come from outside; the page's policy forbids the browser to run
or to fetch anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import jinja2
import numpy as np

from linewatch import __version__
from linewatch.contracts.alarm import Alarm, AlarmChange, AlarmState
from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.review.coil_record import CoilRecord
from linewatch.review.report.histogram import histogram
from linewatch.review.report.marks import MarkedDefects, colour, radius_px, shape
from linewatch.review.report.strip_map import NUMBERED, SHADES, across_shown, strip_map
from linewatch.review.report.thumbnail import Thumbnail
from linewatch.review.severities import RatedDefects

SPANS_AT_MOST = 40
ALARMS_AT_MOST = 60
LENGTH_BINS, WIDTH_BINS = 100, 60
MAX_TEXT = 200
"""Longer strings are cut in the page; the tables for a spreadsheet have them in full."""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What was found of one class. Area, longest and probability include the tentative defects."""

    name: str
    code: int
    severity: int
    known: bool  # to the taxonomy
    count: int  # of called defects
    tentative: int
    per_100_m: float | None
    area_mm2: float
    longest_mm: float
    probability: float  # the mean


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One alarm with its later transitions."""

    first: Alarm
    later: tuple[Alarm, ...]

    @property
    def then(self) -> list[str]:
        """Texts of the later transitions."""
        plain = (AlarmChange.ACTIVE, AlarmChange.INACTIVE)
        return [
            f"{step.state if step.change in plain else step.change} at {_metres(step.along_mm)} m"
            + (f" by {step.command.by}" if step.command is not None and step.command.by else "")
            for step in self.later
        ]

    @property
    def standing(self) -> bool:
        return (self.later or (self.first,))[-1].state is not AlarmState.CLEARED


def render(record: CoilRecord, rated: RatedDefects, thumbnails: Sequence[Thumbnail], made_at: datetime) -> str:
    """Return the page. thumbnails: of the worst defects, which are those that its table lists."""
    marked = MarkedDefects.of(rated)
    listed = len(thumbnails)
    across_mm = across_shown(record, marked)
    middles = marked.along_mm.mean(1), marked.across_mm.mean(1)
    classes = len(marked.classes)
    spans = sorted(
        (span for span in record.spans if span.quality is not Quality.INSPECTED), key=lambda span: -_length(span)
    )
    alarms = _alarm_rows(record.alarms)
    worst = zip(
        rated.defects.take(slice(listed)),
        rated.severity[:listed].tolist(),
        marked.class_code[:listed].tolist(),
        thumbnails,
        strict=True,
    )
    return (
        _environment()
        .get_template("coil.html")
        .render(
            record=record,
            made_at=made_at,
            counts=_class_rows(record, rated, marked),
            severities=rated.by,
            lengths_mm={quality: record.quality_mm(quality) for quality in Quality},
            shares=record.area_shares,
            map=strip_map(record, marked, listed),
            along=histogram(
                middles[0], marked.class_code, classes, 0.0, record.length_mm, bins=LENGTH_BINS, unit_mm=1000.0
            ),
            across=histogram(middles[1], marked.class_code, classes, *across_mm, bins=WIDTH_BINS, unit_mm=1.0),
            worst=list(worst),
            defects=len(rated),
            spans=sorted(spans[:SPANS_AT_MOST], key=lambda span: span.first_line),
            other_spans=(len(spans[SPANS_AT_MOST:]), sum(map(_length, spans[SPANS_AT_MOST:]))),
            alarms=alarms[:ALARMS_AT_MOST],
            other_alarms=len(alarms[ALARMS_AT_MOST:]),
            Quality=Quality,
            numbered=NUMBERED,
            shades=SHADES,
            version=__version__,
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("linewatch.review.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"n": _number, "m": _metres, "short": _short, "percent": _percent}
    environment.globals |= {"colour": colour, "shape": shape, "radius_px": radius_px}
    return environment


def _number(value: float, decimals: int = 0) -> str:
    return f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "\u2212")


def _metres(mm: float, decimals: int = 2) -> str:
    return _number(mm / 1000, decimals)


def _percent(share: float) -> str:
    """Return the share rounded down, so that only the whole reads 100 %."""
    return f"{np.floor(share * 10_000 + 1e-6) / 100:.2f}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "\u2026"


def _length(span: CoverageSpan) -> float:
    return span.along_mm[1] - span.along_mm[0]


def _class_rows(record: CoilRecord, rated: RatedDefects, marked: MarkedDefects) -> list[ClassRow]:
    counts, tentative = record.counts(), record.counts(tentative=True)
    defects, by = rated.defects, rated.by
    sides_mm = np.hstack([np.diff(defects["along_mm"]), np.diff(defects["across_mm"]), defects["length_mm"][:, None]])
    longest_mm = sides_mm.max(axis=1)
    rows = []
    for code, name in enumerate(marked.classes):
        of = marked.class_code == code
        rows.append(
            ClassRow(
                name,
                code,
                int(marked.severity[of][0]),
                name in by.by_class or name in by.pseudo,
                counts[name],
                tentative[name],
                counts[name] / record.length_mm * 1e5 if record.length_mm > 0 else None,
                float(defects["area_mm2"][of].sum()),
                float(longest_mm[of].max()),
                float(defects["probability"][of].mean()),
            )
        )
    return rows


def _alarm_rows(alarms: Sequence[Alarm]) -> list[AlarmRow]:
    by_id: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_id.setdefault(alarm.id, []).append(alarm)
    return [AlarmRow(steps[0], tuple(steps[1:])) for steps in by_id.values()]
