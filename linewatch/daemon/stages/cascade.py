"""The cascade stage's way in: a frame is given what is known of its coil, and the engines that its recipe names."""

from linewatch.capture.edges import find_edges
from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import Frame
from linewatch.contracts.tile import Batch
from linewatch.daemon.coils.known import CoilBook
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.stages.exchange import Exchange
from linewatch.inference.cascade import Cascade


class Feeding:
    """Used by the cascade's thread. What is known of a coil holds from here on, for all stages behind."""

    def __init__(
        self, settings: CaptureSettings, cascade: Cascade, exchange: Exchange, book: CoilBook, recipes: Recipes
    ) -> None:
        self._settings, self._cascade, self._exchange = settings, cascade, exchange
        self._book, self._recipes = book, recipes
        self._coil = ""

    def __call__(self, frame: Frame, now_ns: int) -> tuple[Batch, ...]:
        """The batches that this frame made ready to run."""
        frame = self._book.attach(frame)
        if frame.coil != self._coil:
            self._coil = frame.coil
            recipe = self._recipes.files.recipe_of(frame.data)
            if (lineup := self._exchange.turn(recipe.name if recipe else None)) is not None:
                self._cascade.use(lineup)
        edges = None if frame.pixels is None else find_edges(frame.pixels[: frame.valid_lines], self._settings)
        return self._cascade.feed(frame, edges, now_ns)
