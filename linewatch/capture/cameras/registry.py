"""The camera kinds that `[source] type` can name."""

from functools import partial
from typing import Annotated, Final, get_args

from pydantic import Field

from linewatch.capture.calibrated import FindCalibration, no_calibration
from linewatch.capture.cameras.folder import FolderSource
from linewatch.capture.cameras.genicam import GenicamSource
from linewatch.capture.cameras.gentl import GentlSource
from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.capture.cameras.source import SourceSettings
from linewatch.capture.cameras.stream import StreamSource
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.position.beside import CountedBesideCamera
from linewatch.capture.position.encoder import placed_by_encoder
from linewatch.config.line import LineSettings
from linewatch.contracts.ports import Camera, Clock

AnySource = Annotated[
    RecordingSource  # one line a kind
    | FolderSource
    | SimulatorSource
    | StreamSource
    | GentlSource
    | GenicamSource,
    Field(discriminator="type"),
]
KINDS: Final[tuple[type[SourceSettings], ...]] = get_args(get_args(AnySource)[0])


def open_camera(
    source: SourceSettings,
    line: LineSettings,
    clock: Clock,
    *,
    live: bool,
    find: FindCalibration = no_calibration,
) -> Camera:
    """Return a camera over the source, not yet entered, its grabs placed by `[line.encoder]` where that is set, by
    their own counts or by those of a counter beside the camera.

    find: finds the camera's calibration, which may have the encoder's scale.
    Raises SourceError or ConfigError when it cannot be opened or does not fit `line`.
    """
    camera = source.open(line, clock, live=live)
    counted = source.has_encoder_count
    if camera.live and line.encoder is not None and line.encoder.counter is not None:
        camera, counted = CountedBesideCamera(camera, line, clock), True
    return placed_by_encoder(camera, line, source.type, counted=counted, find=find)


def open_for_service(
    source: SourceSettings, line: LineSettings, clock: Clock, within_s: float, find: FindCalibration = no_calibration
) -> Camera:
    """Return the camera of a live service, not yet entered; a device is opened when it is entered, and whenever it is
    lost. within_s: as for `LastingCamera`. find: as for `open_camera`.

    Raises SourceError or ConfigError when a source that is no device cannot be opened.
    """
    reopen = partial(open_camera, source, line, clock, live=True, find=find)
    return LastingCamera(reopen, line, clock, within_s) if source.is_device else reopen()
