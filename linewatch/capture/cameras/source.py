"""`[source]`: the base of every camera kind's settings, which open the camera."""

from abc import ABC, abstractmethod
from typing import ClassVar

from linewatch.config.base import Settings
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import CoilName  # noqa: F401 - for the modules of camera kinds
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.ports import Camera, Clock


class SourceSettings(Settings, ABC):
    """Base of every camera kind's settings. A kind narrows `type` to a Literal of its own name."""

    type: str
    is_device: ClassVar[bool] = False
    """Whether it opens a real camera, which can be absent or lost: a live service waits for it instead of ending."""

    @property
    def has_encoder_count(self) -> bool:
        """Whether each grab carries the counter of an encoder, from which `[line.encoder]` derives its position."""
        return False

    @property
    def position_source(self) -> PositionSource:
        """Where the positions of its grabs come from."""
        return PositionSource.ENCODER if self.has_encoder_count else PositionSource.LINE_RATE

    def told(self) -> tuple[str, ...]:
        """Say in words what `linewatch check` can tell of the source. Raises SourceError when it cannot be opened."""
        return ()

    @abstractmethod
    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        """Return the camera, not yet entered. `live` decides for kinds that can be live or not, such as the simulator.

        Raises SourceError when it cannot be opened, and ConfigError when it can never be opened with these settings.
        """
