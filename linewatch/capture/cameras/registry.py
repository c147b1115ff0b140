"""The camera kinds that `[source] type` can name."""

from functools import partial
from typing import Annotated, Final, get_args

from pydantic import Field

from linewatch.capture.cameras.folder import FolderSource
from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.capture.cameras.source import SourceSettings
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.position.encoder import placed_by_encoder
from linewatch.config.line import LineSettings
from linewatch.contracts.ports import Camera, Clock

AnySource = Annotated[
    RecordingSource  # one line a kind
    | FolderSource
    | SimulatorSource,
    Field(discriminator="type"),
]
KINDS: Final[tuple[type[SourceSettings], ...]] = get_args(get_args(AnySource)[0])


def open_camera(source: SourceSettings, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
    """Return a camera over the source, not yet entered, its grabs placed by `[line.encoder]` where that is set.

    Raises SourceError or ConfigError when it cannot be opened or does not fit `line`.
    """
    camera = source.open(line, clock, live=live)
    return placed_by_encoder(camera, line, source.type, counted=source.has_encoder_count)


def open_for_service(source: SourceSettings, line: LineSettings, clock: Clock, within_s: float) -> Camera:
    """Return the camera of a live service, not yet entered; a device is opened when it is entered, and whenever it is
    lost. within_s: as for `LastingCamera`.

    Raises SourceError or ConfigError when a source that is no device cannot be opened.
    """
    reopen = partial(open_camera, source, line, clock, live=True)
    return LastingCamera(reopen, line, clock, within_s) if source.is_device else reopen()
