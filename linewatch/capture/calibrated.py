"""The calibration of the connected camera: found by its serial, and applied to the lines of its grabs."""

from collections.abc import Callable

import numpy as np
import structlog

from linewatch.capture.flat_field import FlatFieldCorrection
from linewatch.config.calibrated import calibrated_capture, calibrated_line, replaced_settings
from linewatch.config.calibration_file import CameraCalibration, check_calibration
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError

log = structlog.get_logger()

FindCalibration = Callable[[str], CameraCalibration | None]
"""Returns the calibration of the camera with a serial ("": unknown); None: it has none. Raises ConfigError."""


def no_calibration(_serial: str) -> CameraCalibration | None:
    """Find none: frames are inspected as they come."""
    return None


class CalibrationInForce:
    """What is applied to the lines of the camera that is connected now. Another camera may take its place at any time.

    Only the capture thread may use it; others may read its public attributes. trouble: why the calibration that this
    camera should have cannot be used; its lines must not be inspected then. None: it can. columns: where they lie
    across. capture: settings of the strip-edge finder, as calibrated; configured: as in the configuration.
    """

    def __init__(
        self,
        line: LineSettings,
        find: FindCalibration = no_calibration,
        capture: CaptureSettings | None = None,
    ) -> None:
        self.calibration: CameraCalibration | None = None
        self.serial = ""
        self.trouble: str | None = None
        self._line, self.configured = line, capture or CaptureSettings()
        self.columns, self.capture = line.across, self.configured
        self._find = find
        self._met: str | None = None  # the serial that `meet` was told last
        self._flat_field: FlatFieldCorrection | None = None

    @property
    def identity(self) -> str:
        """Identity of the calibration, as verdicts tell it; empty: there is none."""
        return self.calibration.identity if self.calibration is not None else ""

    def meet(self, serial: str) -> None:
        """Apply the calibration of the camera with this serial from now on; `trouble` says why one cannot be used."""
        if serial == self._met:
            return
        try:
            self.begin(serial)
        except ConfigError as error:
            self.trouble = str(error)
            log.error("calibration_refused", serial=self.serial, error=self.trouble)

    def begin(self, serial: str) -> None:
        """Do what `meet` does, but raise ConfigError for a calibration that cannot be used."""
        self._met, self.serial = serial, serial
        self.calibration, self._flat_field, self.trouble = None, None, None
        self.columns, self.capture = self._line.across, self.configured
        calibration = self._find(serial)
        if calibration is None:
            return
        check_calibration(calibration, f"calibration of {calibration.serial}", serial, self._line.width_px)
        if (flat_field := calibration.flat_field) is not None:
            if flat_field.per == "pixel" and self._line.encoder is not None and not self._line.encoder.triggers:
                raise ConfigError(
                    f"calibration of {calibration.serial}: its flat field is per pixel, but the lines of this camera "
                    "are resampled ([line.encoder] triggers = false); calibrate it per column"
                )
            self._flat_field = FlatFieldCorrection(flat_field, self._line.frame_lines)
        self.columns = calibrated_line(self._line, calibration).across
        self.capture = calibrated_capture(self.configured, calibration)
        for text in (*replaced_settings(self._line, self.configured, calibration), *calibration.remarks):
            log.warning("calibration_holds", serial=calibration.serial, text=text)
        self.serial, self.calibration = calibration.serial, calibration
        log.info("calibration_in_force", serial=self.serial, identity=self.identity, parts=sorted(calibration.parts))

    def correct(self, lines: np.ndarray, out: np.ndarray, first_line: int) -> None:
        """Write the lines to `out` as the calibrated camera would give them. Arguments: as of `FlatFieldCorrection`."""
        if self._flat_field is None:
            out[:] = lines
        else:
            self._flat_field.apply(lines, out, first_line)
