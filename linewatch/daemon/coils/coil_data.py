"""What is known of coils, and from which line on it holds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from threading import Lock

import structlog

from linewatch.contracts.coil import CoilData
from linewatch.contracts.frame import Frame

log = structlog.get_logger()

COILS_KEPT = 256
"""Coils of which data are kept; beyond that, those that were added first are dropped."""


@dataclass(frozen=True, slots=True)
class CoilDataEntry:
    """Data that hold from that line of the coil on. ordinal: of the one passage that they are about; None: of any."""

    data: CoilData
    ordinal: int | None = None
    from_line: int = 0


class KnownCoilData:
    """`add` and `coils` are for any thread, `attach` is for the one that frames go through in order.

    Data that are added hold from the next frame on. Data recorded in an earlier run hold from where they held then, so
    that a replay decides alike.
    """

    def __init__(self, recorded: Iterable[CoilDataEntry] = ()) -> None:
        self._lock = Lock()
        self._entries: dict[str, tuple[CoilDataEntry, ...]] = {}  # by coil, in order of their lines
        for entry in recorded:
            self._entries[entry.data.coil] = (*self._entries.get(entry.data.coil, ()), entry)
        self._most = max(COILS_KEPT, len(self._entries))
        self._coil = ""
        self._ordinal = -1
        self._current: CoilData | None = None

    @property
    def coils(self) -> int:
        """How many coils have data."""
        return len(self._entries)

    def add(self, data: CoilData) -> None:
        """Keep the newest data of a coil, in place of any earlier."""
        with self._lock:
            self._entries.pop(data.coil, None)
            self._entries[data.coil] = (CoilDataEntry(data),)
            while len(self._entries) > self._most:
                oldest = next(iter(self._entries))
                del self._entries[oldest]
                log.warning("coil_data_dropped", coil=oldest, most=self._most)

    def attach(self, frame: Frame) -> Frame:
        """Return the frame with the newest data that hold at its first line; strip between two coils gets none."""
        if frame.coil != self._coil:
            self._coil, self._ordinal, self._current = frame.coil, self._ordinal + 1, None
        if frame.between_coils:
            return frame
        for entry in self._entries.get(frame.coil, ()):
            if entry.ordinal in (None, self._ordinal) and entry.from_line <= frame.first_line:
                self._current = entry.data
        return frame if self._current is None else replace(frame, data=self._current)
