"""What a service's journal tells of the strip, and whether each line of it was told once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from linewatch.config.journal import JournalSettings
from linewatch.contracts.frame import Cause
from linewatch.journal.journal import Journal
from linewatch.wire.schema import CoilMessage, FrameMessage, decode


def journaled(config: Path, topic: str) -> list[Any]:
    """Return all messages of a topic in the journal beside a configuration, of all epochs."""
    found = []
    with Journal(JournalSettings(dir=config.parent / "journal")) as journal:
        for epoch in journal.epochs():
            for record in journal.read(epoch, topic, 0, 1 << 40):
                found.append(decode(topic.encode(), record.header, record.payload))
    return found


def check_lines(frames: list[FrameMessage], notices: list[CoilMessage]) -> None:
    """Every line of every passage is told once, in order; a passage begins once and ends once, with these lines."""
    by_passage: dict[tuple, list[FrameMessage]] = {}
    for frame in frames:
        by_passage.setdefault((*frame.passage, frame.coil), []).append(frame)
    assert sorted({(*notice.passage, notice.coil) for notice in notices}) == sorted(by_passage)
    for passage, told in by_passage.items():
        assert told[0].first_line == 0
        for before, frame in pairwise(told):
            assert frame.first_line == before.first_line + before.lines
            assert frame.along_mm[0] == pytest.approx(before.along_mm[1], abs=0.01)
        for frame in told:
            spans_of = frame.spans
            assert sum(span.lines for span in spans_of) == frame.lines
        begun, ended = [notice for notice in notices if (*notice.passage, notice.coil) == passage]
        assert (begun.state, ended.state) == ("started", "ended")
        passed_mm = ended.inspected_mm + ended.degraded_mm + ended.missed_mm
        assert passed_mm == pytest.approx(told[-1].along_mm[1], abs=1.0)
        gaps = [span for frame in told for span in frame.spans if span.cause is Cause.RESTART]
        unseen = sum(span.lines for span in gaps)
        assert ended.missed_lines_by_cause.get("restart", 0) == unseen
        assert ended.grade is not None
        if unseen:
            assert "restarted at" in ended.grade.text
            assert any("passed unseen" in note for note in ended.notes)
        begin_mm, end_mm = ended.grade.graded_mm  # without the ends, in which a gap may lie
        if any(span.along_mm[0] < end_mm and span.along_mm[1] > begin_mm for span in gaps):
            assert ended.grade.inspected_share < 1.0
