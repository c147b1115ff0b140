"""Applies `[line.encoder]` to a camera of any kind: turns its encoder counts into positions on the strip."""

from linewatch.capture.calibrated import FindCalibration, no_calibration
from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera
from linewatch.capture.position.free_running import FreeRunningCamera
from linewatch.config.calibrated import calibrated_line
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper

_REMEDY = "switch the encoder's counter on in the camera, or take [line.encoder] out of the configuration"


def placed_by_encoder(
    camera: Camera, line: LineSettings, kind: str, *, counted: bool, find: FindCalibration = no_calibration
) -> Camera:
    """Return the camera, with its grabs placed by their counts where the configuration has a `[line.encoder]`.

    counted: each grab carries a count. find: finds the camera's calibration, whose scale of the encoder holds. Grabs
    of recordings and folders keep their positions. Raises ConfigError for a live camera of a kind without counts.
    """
    if line.encoder is None:
        return camera
    if counted:
        return _EncoderCamera(_CountedCamera(camera), line, find)
    if camera.live:
        camera.stop()
        raise ConfigError(
            f"[source] type = '{kind}' is a live camera whose grabs carry no encoder count, [line.encoder] expects one "
            f"with each grab; choose a kind of camera that counts, or take [line.encoder] out of the configuration"
        )
    return camera


class _EncoderCamera(CameraWrapper):
    """Places grabs by the encoder's scale as calibrated. Which camera it is shows at the first grab."""

    def __init__(self, camera: Camera, line: LineSettings, find: FindCalibration) -> None:
        super().__init__(camera)
        self._line, self._find = line, find
        self._placed: Camera | None = None

    def read(self) -> Grab | None:
        if self._placed is None:
            line = self._calibrated()
            triggers = line.encoder is not None and line.encoder.triggers
            self._placed = (EncoderTriggeredCamera if triggers else FreeRunningCamera)(self._camera, line)
        return self._placed.read()

    def _calibrated(self) -> LineSettings:
        try:
            return calibrated_line(self._line, self._find(self._camera.serial))
        except ConfigError:  # the service tells it, and inspects nothing
            return self._line


class _CountedCamera(CameraWrapper):
    """Passes on grabs that carry a count."""

    def read(self) -> Grab | None:
        """Return the next grab. Raises SourceError for one without a count."""
        grab = self._camera.read()
        if grab is not None and not grab.encoded:
            raise SourceError(
                f"grab {grab.sequence} of coil {grab.coil} carries no encoder count, [line.encoder] expects one with "
                f"each grab; {_REMEDY}"
            )
        return grab
