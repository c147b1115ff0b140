"""Applies `[line.encoder]` to a camera of any kind: turns its encoder counts into positions on the strip."""

from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera
from linewatch.capture.position.free_running import FreeRunningCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper

_REMEDY = "switch the encoder's counter on in the camera, or take [line.encoder] out of the configuration"


def placed_by_encoder(camera: Camera, line: LineSettings, kind: str, *, counted: bool) -> Camera:
    """Return the camera, with its grabs placed by their counts where the configuration has a `[line.encoder]`.

    counted: each grab carries a count. Grabs of recordings and folders keep their positions. Raises ConfigError for a
    live camera of a kind without counts.
    """
    if line.encoder is None:
        return camera
    if counted:
        camera = _CountedCamera(camera)
        return EncoderTriggeredCamera(camera, line) if line.encoder.triggers else FreeRunningCamera(camera, line)
    if camera.live:
        camera.__exit__(None, None, None)
        raise ConfigError(
            f"[source] type = '{kind}' is a live camera whose grabs carry no encoder count, [line.encoder] expects one "
            f"with each grab; choose a kind of camera that counts, read a counter beside it ([line.encoder.counter]), "
            "or take [line.encoder] out of the configuration"
        )
    return camera


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
