"""One camera's messages in the order of its decisions: each frame or coil with the defects that belong to it.

A subscriber returns the messages of each topic in order, but fills gaps topic by topic: after a restart all coils come,
then all defects, then all frames.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from linewatch.client import Lost
from linewatch.contracts.verdict import CoilState
from linewatch.wire.schema import AnyMessage, CoilMessage, DefectMessage, FrameMessage, Topic

TOPICS = (Topic.COIL, Topic.FRAME, Topic.DEFECT)
"""What is read of a camera. Its alarms and roll marks are its own: those of the joined strip are found anew."""
_SAME_MM = 0.01
_MOST_LACKING = 10_000


@dataclass(frozen=True, slots=True)
class CameraDecision:
    """One decision of a camera. complete: False where defects that belong to it are lost for good."""

    head: FrameMessage | CoilMessage
    defects: tuple[DefectMessage, ...] = ()
    complete: bool = True


class InOrder:
    """Takes a camera's messages and losses, and gives its decisions as soon as each is whole. Used by one thread."""

    def __init__(self, passage: tuple[int, int] | None = None, end_mm: float = 0.0, *, ended: bool = False) -> None:
        """passage, end_mm: of the newest decision that was taken earlier, and where it ended along the coil.

        passage: None: what comes first is the middle of a coil. ended: the passage is over, or there was none yet.
        """
        self._passage, self._end_mm, self._ended = passage, end_mm, ended
        self._frames: deque[FrameMessage] = deque()
        self._coils: deque[CoilMessage] = deque()
        self._defects: deque[DefectMessage | _Lacking] = deque()
        self._lost_heads = False

    def take(self, message: AnyMessage | Lost) -> Iterator[CameraDecision]:
        """Take one message in, and yield the decisions that are whole with it."""
        match message:
            case FrameMessage():
                self._frames.append(message)
            case CoilMessage():
                self._coils.append(message)
            case DefectMessage():
                self._defects.append(message)
            case Lost(topic=Topic.DEFECT, epoch=epoch, first=first, end=end):
                count = 1 if end is None else min(end - first, _MOST_LACKING)
                self._defects += [_Lacking(epoch, end is None)] * count
            case Lost(topic=Topic.FRAME | Topic.COIL):
                self._lost_heads = True
            case _:
                return
        while (head := self._next_head()) is not None and (told := self._with_defects(head)) is not None:
            if isinstance(head, FrameMessage):
                self._frames.popleft()
                self._end_mm = head.along_mm[1]
            else:
                self._coils.popleft()
                self._end_mm = 0.0 if head.state is CoilState.STARTED else head.along_mm
            self._passage, self._ended = passage_of(head), is_end(head)
            yield told

    def _next_head(self) -> FrameMessage | CoilMessage | None:
        """Return the decision that comes next; None while it is not here."""
        frame = self._frames[0] if self._frames else None
        coil = self._coils[0] if self._coils else None
        if coil is None:
            if frame is None or self._passage is None or passage_of(frame) == self._passage or self._lost_heads:
                return frame
            return None  # its coil's start is still to come, or told to be lost
        if frame is not None and passage_of(frame) < passage_of(coil):
            return frame
        if coil.state is CoilState.STARTED:
            before = self._passage is None or self._ended or self._lost_heads or passage_of(coil) == self._passage
            return coil if before or frame is not None else None
        if frame is not None and passage_of(frame) == passage_of(coil):
            return frame
        over = abs(self._end_mm - coil.along_mm) < _SAME_MM or self._passage is None or frame is not None
        return coil if over or self._lost_heads else None

    def _with_defects(self, head: FrameMessage | CoilMessage) -> CameraDecision | None:
        """Return the decision with its defects; None while they are not all here."""
        ordinal = head.ordinal if isinstance(head, FrameMessage) else None
        waiting = self._defects
        while waiting and _is_before(waiting[0], head, ordinal):
            waiting.popleft()
        found: list[DefectMessage] = []
        complete, at = True, 0
        for name in head.defect_ids:
            ahead = next((i for i in range(at, len(waiting)) if isinstance(waiting[i], DefectMessage)), None)
            one = None if ahead is None else waiting[ahead]
            if ahead is not None and isinstance(one, DefectMessage) and one.id == name:
                found.append(one)
                at = ahead + 1
                continue
            gap = waiting[at] if at < len(waiting) else None
            if gap is None or (isinstance(gap, _Lacking) and gap.epoch < head.epoch and one is None):
                return None  # it is still to come
            complete = False
            at += isinstance(gap, _Lacking) and not gap.to_the_end
        for _ in range(at):
            waiting.popleft()
        return CameraDecision(head, tuple(found), complete)


@dataclass(frozen=True, slots=True)
class _Lacking:
    """A defect message that is lost; to_the_end: all of its epoch from there on, whose number nobody knows."""

    epoch: int
    to_the_end: bool


def passage_of(head: FrameMessage | CoilMessage) -> tuple[int, int]:
    """Return the epoch in which the passage began, and its number there; -1 before the first."""
    epoch, ordinal = head.passage
    return epoch, -1 if ordinal is None else ordinal


def is_end(head: FrameMessage | CoilMessage) -> bool:
    """Return whether a passage is over with this decision."""
    return isinstance(head, CoilMessage) and head.state is CoilState.ENDED


def _is_before(defect: DefectMessage | _Lacking, head: FrameMessage | CoilMessage, ordinal: int | None) -> bool:
    """Say whether a defect belongs to a decision before this one: that one was published before anybody listened."""
    if isinstance(defect, _Lacking) or defect.ordinal is None or ordinal is None:
        return False
    return (defect.epoch, defect.ordinal) < (head.epoch, ordinal)
