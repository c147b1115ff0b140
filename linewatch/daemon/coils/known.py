"""What is known of the coils, and where it holds: told before a coil comes, or while it runs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from threading import Lock

import structlog

from linewatch.contracts.coil import CoilData
from linewatch.contracts.frame import Frame

log = structlog.get_logger()

KNOWN = 256
"""Coils of which data are kept; of more, those go that were told of first."""


@dataclass(frozen=True, slots=True)
class Told:
    """Data that hold from that line of the coil on. ordinal: of the one passage that they are about; None: of any."""

    data: CoilData
    ordinal: int | None = None
    from_line: int = 0


class CoilBook:
    """`tell` and `known` are for any thread, `attach` is for the one that frames go through in order.

    What is told of a coil holds from the next frame on. What was told in an earlier run (`script`) holds from where it
    held then, so that a replay decides alike.
    """

    def __init__(self, script: Iterable[Told] = ()) -> None:
        self._lock = Lock()
        self._told: dict[str, tuple[Told, ...]] = {}
        for told in script:
            self._told[told.data.coil] = (*self._told.get(told.data.coil, ()), told)
        self._most = max(KNOWN, len(self._told))
        self._coil = ""
        self._ordinal = -1
        self._held: CoilData | None = None

    @property
    def known(self) -> int:
        """Coils of which data are kept."""
        return len(self._told)

    def tell(self, data: CoilData) -> None:
        """The newest data of a coil."""
        with self._lock:
            self._told.pop(data.coil, None)
            self._told[data.coil] = (Told(data),)
            while len(self._told) > self._most:
                oldest = next(iter(self._told))
                del self._told[oldest]
                log.warning("coil_data_forgotten", coil=oldest, most=self._most)

    def attach(self, frame: Frame) -> Frame:
        """The frame with what is known of its coil now."""
        if frame.coil != self._coil:
            self._coil, self._ordinal, self._held = frame.coil, self._ordinal + 1, None
        if frame.between_coils:
            return frame
        for told in self._told.get(frame.coil, ()):
            if told.ordinal in (None, self._ordinal) and told.from_line <= frame.first_line:
                self._held = told.data
        return frame if self._held is None else replace(frame, data=self._held)
