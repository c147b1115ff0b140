"""What a decision holds never ends the service: what cannot be told is told as missed, and the service goes on.

Real service, journal and sockets; decisions with one odd field each are put where the decision puts its own.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bright_strip import write_service
from decisions import alarm, coil_grade, coil_notice, defect_event, roll_mark, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.client import Subscriber
from linewatch.contracts.alarm import AlarmCommand, AlarmNotice
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Quality, StripArea, Verdict
from linewatch.daemon.service import open_service
from linewatch.daemon.topology import DECIDED
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import SUM_EVERY_NS, UntoldDecisions
from linewatch.service_settings import load_settings
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import AlarmMessage, CoilMessage, FrameMessage, StatusMessage, decode
from linewatch.wire.substitute import substitute

pytestmark = pytest.mark.service

PATIENCE_S = 60.0

COIL_DATA = CoilData(coil="C1", steel_grade="DC04", width_mm=1500.0, length_mm=900_000.0)
CONDITIONS = CoilConditions(data=COIL_DATA, recipe="thin", head_mm=10.0, tail_mm=5.0, notes=("a note",))
MARKED = AlarmCommand("token-of-it", "acknowledge", "somebody", 1)  # type: ignore[arg-type]

WHOLE: tuple[Decided, ...] = (
    replace(
        verdict(3, (defect_event(3),), (alarm(3),), missed_lines=16),
        roll_marks=(roll_mark(),),
        coil_data=COIL_DATA,
        config="settings@1",
    ),
    replace(
        coil_notice(CoilState.ENDED, 1024.0, (defect_event(3),)),
        missed_lines_by_cause={"engine": 4},
        alarms=(alarm(3),),
        grade=coil_grade(),
        conditions=CONDITIONS,
        roll_marks=(roll_mark(),),
    ),
    coil_notice(CoilState.STARTED),
    AlarmNotice((alarm(1), alarm(2)), Timing()),
)

ODD_NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e300, -1.0, -1, 1 << 70, None, "7")
ODD_TEXTS = ("\0", "a\0b", "x" * 20_000, "\ud800", "line\nbreak\x1b[2J", "", None, 7)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field within a decision."""
    if is_dataclass(value):
        for field in fields(value):
            yield from places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple) and value:
        for index, one in enumerate(value):
            yield from places(one, (*path, index))
    elif isinstance(value, dict) and value:
        for key, one in value.items():
            yield from places(one, (*path, key))
    else:
        yield path


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = getattr(value, step) if is_dataclass(value) else value[step]
    return value


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return the decision with another value at this path."""
    if not path:
        return odd
    step, rest = path[0], path[1:]
    if is_dataclass(value):
        return replace(value, **{step: with_odd(getattr(value, step), rest, odd)})
    if isinstance(value, tuple):
        return (*value[:step], with_odd(value[step], rest, odd), *value[step + 1 :])
    return {**value, step: with_odd(value[step], rest, odd)}


def odd_values(value: Any) -> tuple[Any, ...]:
    if isinstance(value, np.ndarray):
        ragged = np.array([[5, 9, 2]], np.int32)
        return (ragged, -value - 1, np.zeros((3, 2), np.int32), value.astype(np.float64) * np.nan, None)
    if isinstance(value, Enum):
        return ("nonsense", None, 3)
    return ODD_TEXTS if isinstance(value, str) else ODD_NUMBERS


KINDS = [(whole, path) for whole in WHOLE for path in places(whole)]


@st.composite
def odd_decisions(draw: st.DrawFn) -> Decided:
    whole, path = draw(st.sampled_from(KINDS))
    return with_odd(whole, path, draw(st.sampled_from(odd_values(at(whole, path)))))


def published(decided: Decided) -> list[Any]:
    """Return the messages of a decision as a consumer decodes them. Raises what the encoder raises."""
    records = Sequencer(1).records(drafts(decided))
    return [decode(one.topic.encode(), one.header, one.payload) for one in records]


def whole_if_possible(decided: Decided) -> Decided:
    try:
        published(decided)
    except Exception:
        return substitute(decided)
    return decided


@settings(max_examples=400, deadline=None)
@given(odd_decisions())
def test_every_decision_with_one_odd_field_is_told_or_told_as_missed(odd: Decided) -> None:
    told = whole_if_possible(odd)
    messages = published(told)
    if isinstance(told, Verdict) and told is not odd:
        (frame,) = [one for one in messages if isinstance(one, FrameMessage)]
        kept = [one.defect.id for one in told.defects]
        assert set(frame.defect_ids) == set(kept)
        if len(kept) < 1 or frame.spans != tuple(published(WHOLE[0])[0].spans):
            assert {(one.quality, one.cause) for one in frame.spans} <= {(Quality.MISSED, Cause.UNTOLD)}
            assert sum(one.lines for one in frame.spans) == frame.lines


class Odd:
    """A service whose strip has passed and which still publishes; what is put into it comes out as messages."""

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings(write_service(folder, frames=3, frames_per_s=500))
        self.ready, self.found, self.folder = threading.Event(), SimpleNamespace(), folder
        self.verdicts = folder / "verdicts.jsonl"
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)
        wait_until(self.service.runner._drained.is_set, PATIENCE_S)
        endpoints = f"ipc://{folder}/pub", f"ipc://{folder}/rep"
        self.wire = Subscriber(*endpoints, ["frame", "coil", "alarm", "defect", "roll_mark", "status"])
        self.ends = count(1000)

    @property
    def service(self) -> Any:
        return self.found.service

    def _run(self) -> None:
        clock = MonotonicClock()
        assert self.settings.source is not None
        with (
            open_camera(self.settings.source, self.settings.line, clock, live=False) as camera,
            open_service(self.settings, camera, clock, verdicts=self.verdicts) as self.found.service,
        ):
            self.found.service.run(self.ready.set, hold_s=600.0)

    def tell(self, *decided: Decided) -> list[Any]:
        """Have the outlet publish these; return the messages up to those of a plain frame behind them."""
        last = next(self.ends)
        for one in (*decided, verdict(last)):
            with suppress(Exception):  # the decision's stage does the same
                self.service.totals.add(one)
            self.service.runner._queues[DECIDED].put((one,))
        messages: list[Any] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.thread.is_alive(), "the service ended"
            assert self.service.runner.failure is None
            if (message := self.wire.poll(0.2)) is None:
                continue
            if isinstance(message, FrameMessage) and message.ordinal == last:
                return messages
            messages.append(message)
        raise AssertionError(f"nothing came behind {decided}")

    def status(self) -> StatusMessage:
        while True:
            message = self.wire.poll(PATIENCE_S)
            assert message is not None
            if isinstance(message, StatusMessage):
                return message

    def stop(self) -> None:
        self.wire.close()
        self.service.stop()
        self.service.runner._abort.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    running = Odd(tmp_path_factory.mktemp("battered"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    running = Odd(tmp_path_factory.mktemp("odd"))
    yield running
    running.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(odd_decisions())
def test_no_content_ends_the_service(battered: Odd, odd: Decided) -> None:
    battered.tell(odd)
    assert battered.wire.rejected == 0, "every message that came out can be read"


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), 2.4])
def test_a_defect_that_cannot_be_told_makes_its_frame_missed(service: Odd, odd: float) -> None:
    before = service.status()
    good, bad = defect_event(5, name="good"), defect_event(5, name="bad")
    bad = replace(bad, defect=replace(bad.defect, confidence=odd))
    messages = [one for one in service.tell(verdict(5, (good, bad), (alarm(5),))) if one.topic != "status"]
    assert [one.topic for one in messages] == ["frame", "defect", "alarm"]
    assert messages[0].defect_ids == ("good",)
    assert [(one.first_line, one.lines, one.quality, one.cause) for one in messages[0].spans] == [
        (5 * 256, 256, Quality.MISSED, Cause.UNTOLD)
    ]
    after = service.status()
    assert after.untold == before.untold + 1
    assert after.healthy
    assert after.heartbeat > before.heartbeat
    lines = [json.loads(line) for line in service.verdicts.read_text().splitlines()]
    (line,) = [one for one in lines if one["kind"] == "verdict" and one["ordinal"] == 5][-1:]
    assert [one["cause"] for one in line["spans"]] == ["untold"]


def test_the_coil_says_that_untold_strip_was_missed(service: Odd) -> None:
    service.tell(coil_notice(CoilState.STARTED))
    bad = defect_event(2)
    bad = replace(bad, defect=replace(bad.defect, area_mm2=-1.0))
    frame_mm2 = 256.0 * 780.0
    frames = [verdict(1), verdict(2, (bad,))]
    service.tell(*(replace(one, spans=(replace(one.spans[0], area=StripArea(frame_mm2)),)) for one in frames))
    ended = replace(coil_notice(CoilState.ENDED, 768.0), grade=coil_grade(), area=StripArea(3 * frame_mm2))
    (told,) = [one for one in service.tell(ended) if isinstance(one, CoilMessage)]
    assert (told.inspected_mm, told.degraded_mm, told.missed_mm) == (512.0, 0.0, 256.0)
    assert told.area == StripArea(2 * frame_mm2, 0.0, frame_mm2)
    assert told.uninspected_mm2_by_cause == {"untold": frame_mm2}
    assert told.missed_lines_by_cause == {"untold": 256}
    assert told.grade is not None
    assert "256 mm were inspected but could not be told" in told.grade.text
    assert told.grade.inspected_share == pytest.approx(0.9721 - 1 / 3, abs=1e-4)


def test_an_alarm_is_told_whatever_its_text_and_place(service: Odd) -> None:
    odd = replace(alarm(7), text="a\0b" + "x" * 30_000, along_mm=float("inf"))
    (told,) = [one for one in service.tell(AlarmNotice((odd,), Timing())) if isinstance(one, AlarmMessage)]
    assert told.id == odd.id
    assert told.text.startswith("abxxx")
    assert told.text.endswith("(where on the coil could not be told)")


def test_a_status_that_cannot_be_told_keeps_the_heartbeat(service: Odd) -> None:
    totals = service.service.totals
    before, totals.along_mm = totals.along_mm, float("inf")
    try:
        beats = {service.status().heartbeat for _ in range(8)}
        assert len(beats) > 1, "the heartbeat goes on"
        assert service.status().along_mm is None
    finally:
        totals.along_mm = before


def test_it_is_logged_once_per_kind_then_in_sums() -> None:
    with capture_logs() as logs:
        counted = UntoldDecisions(Totals())
        counted.log_sums(1)
        for _ in range(5):
            counted.note("Verdict", ValueError("odd"))
        counted.log_sums(1)
        counted.log_sums(1 + SUM_EVERY_NS)
    assert Counter(line["event"] for line in logs) == {"not_published": 1, "not_published_again": 1}
    assert counted.count == 5


def test_a_coil_with_odd_sums_is_still_begun_and_ended() -> None:
    odd = replace(WHOLE[1], inspected_mm=float("inf"), coil="C\0" + "9" * 30_000)
    told = substitute(odd)
    assert isinstance(told, CoilNotice)
    (coil, *_) = published(told)
    assert coil.state is CoilState.ENDED
    assert coil.inspected_mm == 0.0
    assert "could not be published" in coil.notes[-1]
