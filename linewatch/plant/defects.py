"""The newest defects of a service, numbered as every bridge shows them."""

from collections import deque
from dataclasses import dataclass

from linewatch.contracts.verdict import DefectState
from linewatch.wire.schema import DefectMessage


@dataclass(frozen=True, slots=True)
class NumberedDefect:
    """A defect as known so far. number: counts defects since the bridge started."""

    number: int
    defect: DefectMessage


class NewestDefects:
    """The newest defects. A tentative defect gets its number once it is no longer tentative."""

    def __init__(self, most: int) -> None:
        """most: how many are kept."""
        self._newest: deque[NumberedDefect] = deque(maxlen=most)
        self._tentative: set[str] = set()  # ids of open defects
        self._numbered = 0
        self.changes = 0
        """Counts every change of `shown`."""

    @property
    def shown(self) -> tuple[NumberedDefect, ...]:
        """The defects, newest first."""
        return tuple(self._newest)

    def take(self, defect: DefectMessage) -> None:
        """Follow a step in a defect's life."""
        was_tentative = defect.id in self._tentative
        self._tentative.discard(defect.id)
        if defect.tentative and (was_tentative or defect.state is DefectState.OPENED):
            if defect.state is not DefectState.CLOSED:
                self._tentative.add(defect.id)
            return
        if defect.state is DefectState.OPENED or was_tentative:
            self._numbered += 1
            self._newest.appendleft(NumberedDefect(self._numbered, defect))
            self.changes += 1
            return
        for at, one in enumerate(self._newest):
            if one.defect.id == defect.id and one.defect.state is not DefectState.CLOSED:
                self._newest[at] = NumberedDefect(one.number, defect)
                self.changes += 1
                return
