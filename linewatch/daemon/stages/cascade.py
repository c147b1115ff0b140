"""The cascade stage: frames become batches for the engines, and their results become predictions.

A frame is first given what is known of its coil; a coil's first frame also selects the engines of its recipe.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import Empty

import structlog

from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.edges import find_edges
from linewatch.capture.picture.meter import PictureMeter
from linewatch.contracts.frame import Frame, StripEdges
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.daemon.canary import Canary
from linewatch.daemon.coils.coil_data import KnownCoilData
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.exchange import EngineExchange
from linewatch.daemon.stages.wiring import END, TICK_S, Wiring
from linewatch.inference.cascade import Cascade

log = structlog.get_logger()


class CascadeStage:
    """Used by one thread. The data of a coil that it attaches to a frame hold for all stages behind it."""

    def __init__(
        self,
        calibrated: CalibrationInForce,
        cascade: Cascade,
        exchange: EngineExchange,
        coil_data: KnownCoilData,
        recipes: Recipes,
        clock: Clock,
        picture: PictureMeter,
        canary: Canary | None = None,
    ) -> None:
        self._calibrated, self._cascade, self._exchange = calibrated, cascade, exchange
        self._coil_data, self._recipes, self._clock = coil_data, recipes, clock
        self._coil, self._canary = "", canary
        self._picture, self._unmeasured = picture, False

    def run(self, wiring: Wiring) -> None:
        """Take frames, results and actions from one queue; give batches to one and predictions to the other."""
        give_jobs, give_predictions = wiring.gives
        cascade, ended = self._cascade, False
        while not (ended and not cascade.pending) and not wiring.aborted:
            batches: list[Batch] = []
            with suppress(Empty):
                item = wiring.take(self._wait_s())
                if item is END:
                    ended = True
                elif isinstance(item, Frame):
                    batches += self._feed(item)
                elif isinstance(item, BatchResult):
                    batches += cascade.done(item, self._clock.now_ns())
                else:
                    self._act(item)
            wiring.tick()
            batches += () if ended else self._send_canary()
            batches += cascade.flush() if ended else cascade.due(self._clock.now_ns())
            give_jobs(*batches)
            give_predictions(*self._of_strip(cascade.take_ready()))
        wiring.end()

    def _wait_s(self) -> float:
        """Seconds until a batch is due, at most a tick."""
        deadline_ns = self._cascade.next_deadline_ns()
        if deadline_ns is None:
            return TICK_S
        return min(TICK_S, max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))

    def _send_canary(self) -> tuple[Batch, ...]:
        now_ns = self._clock.now_ns()
        frame = None if self._canary is None else self._canary.due(now_ns)
        if frame is None or frame.pixels is None:
            return ()
        edges = find_edges(frame.pixels, self._calibrated.configured)  # it may be no picture of this camera
        return self._cascade.feed(frame, edges, now_ns)

    def _of_strip(self, predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions of strip. The canary's goes no farther."""
        for prediction in predictions:
            if prediction.frame.canary and self._canary is not None:
                self._canary.judge(prediction, self._clock.now_ns())
        return [prediction for prediction in predictions if not prediction.frame.canary]

    def _measured(self, frame: Frame, edges: StripEdges | None) -> tuple[Frame, StripEdges | None]:
        """Return the frame with the health of its picture, if it is measured; an error here costs no frame."""
        try:
            edges, health = self._picture.follow(frame, edges)
        except Exception:
            if not self._unmeasured:
                log.exception("picture_not_measured")
            self._unmeasured = True
            return frame, edges
        return frame if health is None else replace(frame, picture=health), edges

    def _act(self, action: Callable[[], None]) -> None:
        """Do what is to be done between two frames. If that raises, the frames to come are inspected as before."""
        try:
            action()
        except Exception:
            log.exception("change_between_frames_failed")

    def _feed(self, frame: Frame) -> tuple[Batch, ...]:
        """Return the batches that this frame made ready to run. A frame over which something is raised is lost."""
        now_ns = self._clock.now_ns()
        try:
            frame = self._coil_data.attach(frame)
            if frame.coil != self._coil:
                recipe = self._recipes.files.recipe_of(frame.data)
                if (lineup := self._exchange.recipe_lineup(recipe.name if recipe else None)) is not None:
                    self._cascade.use(lineup)
                self._coil = frame.coil  # last, so that the next frame tries again what has failed
            edges, capture = None, self._calibrated.capture
            if frame.pixels is not None:
                edges = find_edges(frame.pixels[: frame.valid_lines], capture)
            frame, edges = self._measured(frame, edges)
            return self._cascade.feed(frame, edges, now_ns)
        except Exception as error:
            self._cascade.lose(frame, error, now_ns)
            return ()
