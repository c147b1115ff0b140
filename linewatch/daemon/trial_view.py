"""What an engineer needs to see before an engine is promoted: which engines there are, and where they disagree."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from linewatch.contracts.manifest import MANIFEST
from linewatch.contracts.ports import Clock
from linewatch.daemon.stages.exchange import EngineExchange
from linewatch.inference.disagreement import Disagreement, EngineCall
from linewatch.wire.schema import DisagreementBody, DisagreementsReply, EngineCallBody
from linewatch.wire.schema.base import SCHEMA_VERSION

MOST_NAMES: Final = 200
MOST_RINGS: Final = 24
MOST_CORNERS: Final = 120


@dataclass(frozen=True, slots=True)
class TrialView:
    """Used by the thread of the command socket."""

    exchange: EngineExchange
    engines_dir: Path
    clock: Clock

    @property
    def available(self) -> tuple[str, ...]:
        """Names of the engines that can be loaded."""
        try:
            return tuple(sorted(one.parent.name for one in self.engines_dir.glob(f"*/{MANIFEST}")))[:MOST_NAMES]
        except OSError:
            return ()

    @property
    def back_to(self) -> str | None:
        """The engine that a rollback brings back; None: there is none."""
        return self.exchange.back_to

    def disagreements(self, request_id: int) -> tuple[DisagreementsReply, list[bytes]]:
        """Return the newest disagreements of the present trial with their pictures, PNG."""
        shadow = self.exchange.shadow
        found = [] if shadow is None else list(reversed(shadow.disagreements))
        reply = DisagreementsReply(
            schema_version=SCHEMA_VERSION,
            reply="disagreements",
            id=request_id,
            running="" if shadow is None else shadow.running.manifest.name,
            trial="" if shadow is None else shadow.engine.manifest.name,
            disagreements=tuple(self._body(one) for one in found),
        )
        return reply, [cv2.imencode(".png", one.pixels)[1].tobytes() for one in found]

    def _body(self, one: Disagreement) -> DisagreementBody:
        lines, columns = one.pixels.shape
        return DisagreementBody(
            number=one.number,
            ordinal=one.ordinal,
            captured_unix_ns=time.time_ns() - (self.clock.now_ns() - one.captured_ns),
            coil=one.coil,
            side=one.side,
            camera=one.camera,
            across_mm=_rounded(one.box.across_mm),
            along_mm=_rounded(one.box.along_mm),
            lines=lines,
            columns=columns,
            running=_call(one.running),
            trial=_call(one.shadow),
        )


def _rounded(interval: tuple[float, float]) -> tuple[float, float]:
    return round(float(interval[0]), 3), round(float(interval[1]), 3)


def _call(call: EngineCall) -> EngineCallBody:
    return EngineCallBody(called=call.called, scores=dict(call.scores), rings=_rings(call.mask))


def _rings(mask: np.ndarray | None) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the outlines of a mask, the largest first."""
    if mask is None or not mask.any():
        return ()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    largest = sorted(contours, key=cv2.contourArea, reverse=True)[:MOST_RINGS]
    return tuple(tuple((int(x), int(y)) for x, y in one.reshape(-1, 2)[:MOST_CORNERS]) for one in largest)
