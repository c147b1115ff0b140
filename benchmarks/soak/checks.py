"""What must hold at all times, of the messages of one service as a consumer receives them, and of memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binom
from scipy.stats import t as student

from linewatch.client import Lost
from linewatch.wire.schema import AlarmMessage, CoilMessage, FrameMessage


@dataclass
class Ledger:
    """Follows a service's messages; `take` returns what is wrong with a message, in words."""

    service: str
    lines: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    transitions: set[tuple[int, int]] = field(default_factory=set)
    standing: dict[str, bool] = field(default_factory=dict)  # by alarm: acknowledged
    ends: dict[tuple[int, int | None], int] = field(default_factory=dict)  # of passages: the line behind the last
    next: dict[str, tuple[int, int]] = field(default_factory=dict)  # topic -> epoch, sequence

    def take(self, message: Any) -> list[str]:
        """Follow a message. It is anything that `Subscriber.poll` returns."""
        if isinstance(message, Lost):
            return [f"{self.service}: messages are lost: {message}"]
        if not isinstance(message, FrameMessage | AlarmMessage | CoilMessage):
            return []
        wrong = self._sequence(message.topic.value, message.epoch, message.sequence)
        if isinstance(message, FrameMessage):
            wrong += self._area(message)
        elif isinstance(message, AlarmMessage):
            wrong += self._alarm(message)
        return [f"{self.service}: {one}" for one in wrong]

    def _sequence(self, topic: str, epoch: int, sequence: int) -> list[str]:
        before = self.next.get(topic)
        self.next[topic] = (epoch, sequence + 1)
        if before is None or (epoch, sequence) == before or (epoch > before[0] and sequence == 0):
            return []
        return [f"{topic} {epoch}/{sequence} came where {before[0]}/{before[1]} was due"]

    def _area(self, frame: FrameMessage) -> list[str]:
        wrong, at = [], frame.first_line
        due = self.ends.get(frame.passage)
        if due is not None and due != at:
            what = f"{at - due} lines are not accounted for" if at > due else f"{due - at} lines are counted twice"
            wrong.append(f"{what}: frame {frame.ordinal} begins at line {at}, {due} was due")
        for span in frame.spans:
            if span.first_line != at:
                wrong.append(f"a span of frame {frame.ordinal} begins at line {span.first_line}, {at} was due")
            if (span.cause is None) != (span.quality.value == "inspected"):
                wrong.append(f"lines of frame {frame.ordinal} are {span.quality.value} with cause {span.cause}")
            at = span.first_line + span.lines
        if at != frame.first_line + frame.lines:
            wrong.append(f"the spans of frame {frame.ordinal} end at line {at} of {frame.first_line + frame.lines}")
        for sign, span in frame.signed_spans:
            self.lines[span.quality.value] = self.lines.get(span.quality.value, 0) + sign * span.lines
        self.ends[frame.passage] = frame.first_line + frame.lines
        self.frames += 1
        return wrong

    def _alarm(self, alarm: AlarmMessage) -> list[str]:
        self.transitions.add((alarm.epoch, alarm.sequence))
        wrong = []
        stood = alarm.id in self.standing
        if alarm.change.value == "active" and stood:
            wrong.append(f"alarm {alarm.id} is raised twice")
        if stood and self.standing[alarm.id] and alarm.retain and not alarm.acked_state:
            wrong.append(f"an acknowledgement of alarm {alarm.id} was lost")
        if alarm.retain:
            self.standing[alarm.id] = alarm.acked_state
        else:
            self.standing.pop(alarm.id, None)
        return wrong


def holes_and_doubles(spans: Sequence[tuple[int, int]]) -> list[str]:
    """Return what is wrong with spans (first line, lines) of one coil, in any order: together one whole, none twice."""
    wrong, at = [], None
    for first, lines in sorted(spans):
        if at is not None and first != at:
            wrong.append(f"lines {at} to {first} are missing" if first > at else f"lines {first} to {at} are double")
        at = first + lines
    return wrong


@dataclass(frozen=True)
class Slope:
    """Growth in MB an hour, with its 95 % interval."""

    mb_per_h: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0.0 <= self.high


def slope(lives: Sequence[Sequence[tuple[float, float]]], block_s: float = 20.0) -> Slope | None:
    """Return the common slope of (seconds, MB) over the lives of a process, each with a level of its own.

    Samples that follow each other are not independent: their means over blocks count. None: fewer than five degrees
    of freedom.
    """
    seconds, megabytes, used = [], [], 0
    for life in lives:
        blocks: dict[int, list[tuple[float, float]]] = {}
        for at_s, mb in life:
            blocks.setdefault(int(at_s // block_s), []).append((at_s, mb))
        if len(blocks) >= 3:
            means = np.array([np.mean(block, axis=0) for block in blocks.values()])
            seconds.append(means[:, 0] - means[:, 0].mean())
            megabytes.append(means[:, 1] - means[:, 1].mean())
            used += 1
    if not used:
        return None
    x, y = np.concatenate(seconds), np.concatenate(megabytes)
    free = len(x) - used - 1
    if free < 5:
        return None
    steep = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - steep * x) ** 2).sum() / free / (x @ x)))
    half = float(student.ppf(0.975, free)) * error
    return Slope(*(3600 * value for value in (steep, steep - half, steep + half)))


def steady_growth(lives: Sequence[Sequence[tuple[float, float]]], block_s: float = 60.0) -> Slope | None:
    """Return the median growth of (seconds, MB) from one minute to the next, over the lives of a process.

    A fault may leave a step: libzmq keeps a buffer that a hostile message has filled once. A leak grows in most
    minutes. The interval is that of the median by order statistics, whatever the distribution. None: fewer than ten
    minutes.
    """
    steps: list[float] = []
    for life in lives:
        blocks: dict[int, list[float]] = {}
        for at_s, mb in life:
            blocks.setdefault(int((at_s - life[0][0]) // block_s), []).append(mb)
        means = [float(np.mean(blocks[number])) for number in sorted(blocks)]
        steps += [after - before for before, after in pairwise(means)]
    if len(steps) < 10:
        return None
    steps.sort()
    low = int(binom.ppf(0.025, len(steps), 0.5)) - 1
    per_hour = 3600 / block_s
    return Slope(float(np.median(steps)) * per_hour, steps[max(low, 0)] * per_hour, steps[min(-low - 1, -1)] * per_hour)
