"""The canary: a frame with known defects goes through the running engines and the decision, beside the strip.

It takes the way of every frame from the edge finder to the decision, is marked (`Frame.canary`), and is told nowhere.
Where none of its defects is found, the service is unhealthy and says which stage lost it: a chain that finds nothing
would otherwise look like good strip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import structlog

from linewatch.config.canary import CanarySettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause, Frame
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Defect, Extent, StripBox, Verdict
from linewatch.daemon.recipes import Recipes
from linewatch.decision.decide import DecisionState, decide
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.strip import StripScale
from linewatch.pictures.reading import read_gray
from linewatch.simulation.strip import SimulatedStrip

COIL = "canary"
AWAITED_NS = 10_000_000_000
"""A canary that has not come back after this is lost: no frame may take so long."""
RETRY_NS = 1_000_000_000
_SEED, _DRAWN_M, _DEFECTS_PER_M = 7, 1.3, 16.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class KnownFrame:
    """pixels: uint8 (frame_lines, width). defects: where it shows them, with its first line at 0 mm."""

    pixels: np.ndarray
    defects: tuple[StripBox, ...]


def known_frame(settings: CanarySettings, line: LineSettings) -> KnownFrame:
    """Return the frame that the settings describe. Raises ConfigError or PictureError for a picture that cannot be."""
    if settings.picture is None:
        return _drawn(line)
    pixels = read_gray(settings.picture)
    expected = (line.frame_lines, line.width_px)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise ConfigError(
            f"[canary] picture {settings.picture}: found {pixels.shape[1]} x {pixels.shape[0]} pixels of "
            f"{pixels.dtype}, expected a frame of {expected[1]} x {expected[0]} of uint8; cut it to that"
        )
    scale = StripScale(0.0, line.mm_per_line, line.across)
    for known in settings.defect:
        if known.line >= expected[0] or known.column >= expected[1]:
            raise ConfigError(
                f"[[canary.defect]] line {known.line}, column {known.column} is outside the picture of "
                f"{expected[1]} x {expected[0]} pixels; correct it"
            )
    boxes = tuple(scale.box(one.column, one.column + 1, one.line, one.line + 1) for one in settings.defect)
    return KnownFrame(pixels, boxes)


def _drawn(line: LineSettings) -> KnownFrame:
    """Return the frame of a rendered strip that shows most defects whole."""
    strip = SimulatedStrip(_SEED, _DRAWN_M, _DEFECTS_PER_M, line)
    frame_mm = line.frame_lines * line.mm_per_line
    inside: dict[int, list[StripBox]] = {}
    for defect in strip.truth(COIL).defects:
        at = int(defect.box.along_mm[0] // frame_mm)
        if defect.box.along_mm[1] <= (at + 1) * frame_mm <= strip.total_lines * line.mm_per_line:
            begin, end = defect.box.along_mm
            inside.setdefault(at, []).append(
                StripBox(defect.box.across_mm, (begin - at * frame_mm, end - at * frame_mm))
            )
    if not inside:
        raise ConfigError(
            f"[canary]: no rendered frame of {line.width_px} x {line.frame_lines} pixels shows a whole defect, and one "
            "must; name a picture with [[canary.defect]]"
        )
    at = max(inside, key=lambda one: len(inside[one]))
    return KnownFrame(strip.lines(at * line.frame_lines, line.frame_lines), tuple(inside[at]))


class Canary:
    """`due` and `judge` are for the cascade's thread; any thread may read `trouble`."""

    def __init__(self, settings: CanarySettings, line: LineSettings, recipes: Recipes) -> None:
        self._line, self._recipes = line, recipes
        self._known = known_frame(settings, line)
        self._every_ns = int(settings.every_s * 1e9)
        self._next_ns = 0
        self._sent_ns: int | None = None  # of the one under way
        self._numbers = count(-1, -1)  # frames of the strip count from 0
        self.judged = False  # one has come back
        self.trouble: str | None = None
        """Which stage lost it, in words; None: it was found, or none has come back yet."""

    def due(self, now_ns: int) -> Frame | None:
        """Return the frame to be inspected now, if it is time."""
        if self._sent_ns is not None:
            if now_ns - self._sent_ns > AWAITED_NS:
                self._tell("the engines: it has not come back")
            return None
        if now_ns < self._next_ns:
            return None
        self._sent_ns, self._next_ns = now_ns, now_ns + self._every_ns
        line = self._line
        return Frame(
            pixels=self._known.pixels,
            slot=None,
            ordinal=next(self._numbers),
            coil=COIL,
            side=line.side,
            camera=line.camera,
            sequence=0,
            first_line=0,
            lines=line.frame_lines,
            valid_lines=line.frame_lines,
            encoder_count=0,
            along_mm=0.0,
            mm_per_line=line.mm_per_line,
            columns=line.across,
            captured_ns=now_ns,
            canary=True,
        )

    def judge(self, prediction: Prediction, now_ns: int) -> None:
        """Take the canary's prediction. Under overload it says nothing, and goes again soon."""
        self._sent_ns = None
        if Cause.OVERLOAD in (prediction.failed, prediction.degraded):
            self._next_ns = now_ns + RETRY_NS
            return
        try:
            rules = self._recipes.newest
            _, decided = decide(DecisionState.initial(), prediction, rules)
            lost = lost_by(prediction, decided[-1], self._known.defects, rules)  # type: ignore[arg-type]
        except Exception as error:
            lost = f"the decision: {type(error).__name__}: {error}"[:300]
        self._tell(lost)

    def _tell(self, lost: str | None) -> None:
        if lost is not None and lost != self.trouble:
            log.error("canary_lost", by=lost)
        elif lost is None and (self.trouble is not None or not self.judged):
            log.info("canary_found", known=len(self._known.defects))
        self.trouble, self.judged = lost, True


def canary_lost(stage: str) -> str:
    """Say that a stage lost the canary, and what that means."""
    return f"known defects are not found, lost by {stage}"


def lost_by(prediction: Prediction, verdict: Verdict, defects: Sequence[StripBox], rules: DecisionRules) -> str | None:
    """Return the stage behind which none of these defects is left; None: one of them was told."""
    told = [event.defect for event in verdict.defects if any(_overlap(event.defect.box, known) for known in defects)]
    if any(defect.extent is Extent.MASK or _needs_no_outline(defect, rules) for defect in told):
        return None
    lost = _before_any_tile(prediction) or _by_engines(prediction, defects, rules)
    return lost or "the decision: it told no defect at a known place"


def _needs_no_outline(defect: Defect, rules: DecisionRules) -> bool:
    return bool(rules.outlined_classes) and defect.defect_class not in rules.outlined_classes


def _before_any_tile(prediction: Prediction) -> str | None:
    if prediction.failed is not None:
        return f"the first engine: it did not inspect it ({prediction.failed})"
    if prediction.edges is None or not prediction.edges.width_px:
        return "the edge finder: it saw no strip"
    return None


def _by_engines(prediction: Prediction, defects: Sequence[StripBox], rules: DecisionRules) -> str | None:
    alone = prediction.maps is not None  # one engine does all
    screen, classify, segment = ("inspect",) * 3 if alone else ("screen", "classify", "segment")
    scale = StripScale.of(prediction.frame)
    passed = [tile for tile, passes in zip(prediction.tiles, prediction.passed, strict=True) if passes]
    there = [
        row
        for row, tile in enumerate(passed)
        if any(_overlap(scale.box(tile.x, tile.x + tile.width, tile.y, tile.y + tile.lines), one) for one in defects)
    ]
    if not there:
        return f"{screen}: it passed no tile with a known defect"
    if prediction.degraded is not None:
        return f"the engines behind {screen}: they did not inspect it ({prediction.degraded})"
    limits = np.array([rules.class_thresholds.get(name, np.inf) for name in prediction.classes], np.float32)
    if not (prediction.class_scores[there] >= limits).any():
        return f"{classify}: it called no class on a tile with a known defect"
    if not (prediction.probability[there] >= rules.defect_threshold_u8).any():
        return f"{segment}: it outlined nothing on a tile with a known defect"
    return None


def _overlap(one: StripBox, other: StripBox) -> bool:
    return all(
        low < high
        for low, high in (
            (max(one.across_mm[0], other.across_mm[0]), min(one.across_mm[1], other.across_mm[1])),
            (max(one.along_mm[0], other.along_mm[0]), min(one.along_mm[1], other.along_mm[1])),
        )
    )
