"""Divides the source's lines into coils, to the line: by commands, and by welds or inputs that the camera reports."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from linewatch.contracts.coil import MAX_COIL_NAME, checked_coil_name, coil_name
from linewatch.contracts.frame import Grab
from linewatch.contracts.restart import LastPlace

log = structlog.get_logger()

ORDERS_KEPT = 256
_ROUNDING_LINES = 1e-6


@dataclass(frozen=True, slots=True)
class CoilPart:
    """Lines [first_line, stop_line) of the source, all of one coil, whose head is at `head_line`, `head_mm`.

    between: strip behind a commanded end, which gets a generated name.
    """

    coil: str
    head_line: int
    head_mm: float
    first_line: int
    stop_line: int
    source_coil: str = ""
    between: bool = False


@dataclass(frozen=True, slots=True)
class SourceStart:
    """The source's line at which a coil began in an earlier run."""

    coil: str
    source_coil: str
    source_line: int
    between: bool = False


@dataclass(frozen=True, slots=True)
class _Order:
    coil: str
    at_line: int | None = None
    at_mm: float | None = None
    at_ns: int | None = None
    between: bool = False


@dataclass(frozen=True, slots=True)
class _Cut:
    line: int
    coil: str
    between: bool = False


class CoilAccount:
    """Divides what a source calls one coil into coils.

    Any thread may call `order_start`, `order_end` and `announce`; only the capture thread may call the rest. Without an
    order every line belongs to the source's coil and is counted as the source counts.
    """

    def __init__(self, recorded_starts: Iterable[SourceStart] = ()) -> None:
        """recorded_starts: coils that shall begin where they began in an earlier run."""
        self._recorded_starts = list(recorded_starts)
        self._between = False
        self._orders: deque[_Order] = deque()
        self._announced: deque[str] = deque()
        self._cuts: list[_Cut] = []
        self._source = ""
        self._serial = 1
        self._used: set[str] = set()
        self._coil = ""
        self._head_line = 0
        self._head_mm = 0.0

    @property
    def coil(self) -> str:
        """The coil under the camera; empty before the first line."""
        return self._coil

    def order_start(
        self, coil: str, *, at_line: int | None = None, at_mm: float | None = None, at_ns: int | None = None
    ) -> str | None:
        """Order a coil to begin at that line or position of the coil under the camera, or with the line that passed at
        that moment. Return why the order is refused, or None.

        Without a place, and where the place has passed already, the coil begins with the next line. A moment within a
        grab is converted to a line as if the strip had run evenly.
        """
        if (refused := self.start_refusal(coil)) is not None:
            return refused
        if sum(place is not None for place in (at_line, at_mm, at_ns)) > 1 or (at_line or 0) < 0 or (at_mm or 0.0) < 0:
            place = f"{at_mm} mm" if at_mm is not None else f"line {at_line}"
            return f"coil {coil} starts at {place}; give a place from 0 on or a moment, not both"
        coil = checked_coil_name(coil)
        self._used.add(coil)
        self._orders.append(_Order(coil, at_line, at_mm, at_ns))
        return None

    def start_refusal(self, coil: str) -> str | None:
        """Return why `order_start` would refuse, or None."""
        if (refused := self._refused(coil)) is not None:
            return refused
        return self._full()

    def end_refusal(self, coil: str | None = None) -> str | None:
        """Return why `order_end` would refuse, or None."""
        if not self._coil or self._between:
            return "no coil is under the camera; start one first"
        if coil not in (None, self._coil):
            return f"coil {coil} is not under the camera, {self._coil} is; end that one, or none by name"
        return self._full()

    def order_end(self, coil: str | None = None, *, at_mm: float | None = None) -> str | None:
        """Order the coil under the camera to end, at that position of it or with the next line. Return why the order is
        refused, or None.

        The strip behind it belongs to no coil until the next one starts. coil: refuse if another one is under the
        camera.
        """
        if (refused := self.end_refusal(coil)) is not None:
            return refused
        if at_mm is not None and at_mm < 0:
            return f"{at_mm} mm is before the coil's head; give a place from 0 on"
        self._orders.append(_Order("", at_mm=at_mm, between=True))
        return None

    def announce(self, coil: str) -> str | None:
        """Name the coil after the next weld, which otherwise gets a generated name. Return a refusal, or None."""
        if (refused := self._refused(coil)) is not None:
            return refused
        coil = checked_coil_name(coil)
        self._used.add(coil)
        self._announced.append(coil)
        return None

    def resume(self, last: LastPlace) -> None:
        """Go on with the coil of before a restart, before the first line."""
        self._source, self._coil, self._head_line = last.source_coil, last.coil, last.head_line
        self._between = last.between

    def take_names(self, names: Iterable[str]) -> None:
        """Refuse these names, and generate none of them: coils of before a restart had them."""
        self._used.update(names)

    def head_lies_at(self, head_mm: float) -> None:
        """Set where the present coil's head lies, in the source's millimetres."""
        self._head_mm = head_mm

    def enter(self, source_coil: str) -> None:
        """Take over the source's new coil: its name and its line count hold from here on.

        What a name must not contain becomes `_`, as a camera may name its coils by any input.
        """
        source_coil = coil_name(source_coil)
        if self._cuts:
            log.warning("coil_start_dropped", coils=[cut.coil for cut in self._cuts], ended=self._coil)
        self._cuts.clear()
        self._source, self._serial = source_coil, 1
        self._used.add(source_coil)
        self._coil, self._head_line, self._head_mm, self._between = source_coil, 0, 0.0, False

    def find_starts(self, grab: Grab, begin: int, since_ns: int | None) -> None:
        """Find the coils that begin within the new lines [begin, end of the grab), the first taken after `since_ns`."""
        stop = grab.first_line + grab.lines
        waiting: list[_Order] = []
        while self._orders:
            order = self._orders.popleft()
            if order.at_ns is not None and order.at_ns > grab.captured_ns:
                waiting.append(order)
                continue
            line = begin
            if order.at_line is not None:
                line = self._head_line + order.at_line
            elif order.at_mm is not None:
                ahead_mm = self._head_mm + order.at_mm - grab.along_mm
                line = grab.first_line + math.ceil(ahead_mm / grab.mm_per_line - _ROUNDING_LINES)
            elif order.at_ns is not None and since_ns is not None and grab.captured_ns > since_ns:
                share = max(0, order.at_ns - since_ns) / (grab.captured_ns - since_ns)
                line = min(stop - 1, begin + int(share * (stop - begin)))
            if line < begin:
                log.warning("coil_start_late", coil=order.coil, lines=begin - line)
            self._cuts.append(_Cut(max(line, begin), order.coil, order.between))
        self._orders.extendleft(reversed(waiting))
        recorded = [one for one in self._recorded_starts if one.source_coil == self._source and one.source_line < stop]
        for one in recorded:
            self._recorded_starts.remove(one)
            self._used.add(one.coil)
            self._cuts.append(_Cut(max(one.source_line, begin), one.coil, one.between))
        changed = None if grab.change_line is None else grab.first_line + grab.change_line
        if (
            changed is not None
            and begin <= (line := changed) < stop
            and line not in {one.source_line for one in recorded}
        ):
            self._cuts.append(_Cut(line, self._announced.popleft() if self._announced else self._generated_name()))
        self._cuts.sort(key=lambda cut: cut.line)

    def parts(self, grab: Grab, first_line: int, lines: int) -> Iterator[CoilPart]:
        """Yield these lines by coil, in order; `grab` gives their millimetres. Request each line once."""
        stop = first_line + lines
        while first_line < stop:
            while self._cuts and self._cuts[0].line <= first_line:
                cut = self._cuts.pop(0)
                self._coil, self._head_line, self._between = cut.coil or self._generated_name(), first_line, cut.between
                self._head_mm = grab.along_mm + (first_line - grab.first_line) * grab.mm_per_line
                log.info(
                    "coil_starts",
                    coil=self._coil,
                    between=cut.between,
                    source_coil=self._source,
                    source_line=first_line,
                )
            end = min(stop, self._cuts[0].line) if self._cuts else stop
            yield CoilPart(
                self._coil, self._head_line, self._head_mm, first_line, end, self._source, between=self._between
            )
            first_line = end

    def _full(self) -> str | None:
        waiting = len(self._orders) + len(self._cuts)
        if waiting < ORDERS_KEPT:
            return None
        return (
            f"{waiting} orders wait for their place already, expected fewer than {ORDERS_KEPT}; wait for some to pass"
        )

    def _refused(self, coil: str) -> str | None:
        try:
            coil = checked_coil_name(coil)
        except ValueError as error:
            return str(error)
        if coil in self._used:
            return f"coil {coil} has passed or is ordered already; give it another name, such as {coil}-2"
        return None

    def _generated_name(self) -> str:
        while True:
            self._serial += 1
            name = f"{self._source[: MAX_COIL_NAME - 8]}.{self._serial}"
            if name not in self._used:
                self._used.add(name)
                return name
