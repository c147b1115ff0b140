"""The calibration of the connected camera: found by its serial, and applied to the lines of its grabs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import structlog

from linewatch.capture.flat_field import FlatFieldCorrection
from linewatch.config.calibrated import calibrated_capture, calibrated_line, replaced_settings
from linewatch.config.calibration_file import CameraCalibration, check_calibration
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import ConfigError

log = structlog.get_logger()

FindCalibration = Callable[[str], CameraCalibration | None]
"""Returns the calibration of the camera with a serial ("": unknown); None: it has none. Raises ConfigError."""


def no_calibration(_serial: str) -> CameraCalibration | None:
    """Find none: frames are inspected as they come."""
    return None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A calibration that fits the line, and what follows from it."""

    calibration: CameraCalibration
    flat_field: FlatFieldCorrection | None
    columns: AcrossMap
    capture: CaptureSettings


class CalibrationInForce:
    """What is applied to the lines of the camera that is connected now. Another camera may take its place at any time.

    Only the capture thread may use it; others may read its public attributes, and one may call `look`. trouble: why the
    calibration that this camera should have cannot be used; its lines must not be inspected then. None: it can.
    columns: where they lie across. capture: settings of the strip-edge finder, as calibrated; configured: as in the
    configuration. refused: why a newer calibration is not taken up; None: there is none, or it can be used.
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
        self.refused: str | None = None
        self._line, self.configured = line, capture or CaptureSettings()
        self.columns, self.capture = line.across, self.configured
        self._find = find
        self._met: str | None = None  # the serial that `meet` was told last
        self._flat_field: FlatFieldCorrection | None = None
        self._following: _Prepared | None = None  # is taken up with the next coil
        self._changing = threading.Lock()  # of what `look` finds; never held while a file is read

    @property
    def told(self) -> str:
        """The calibration as records name it; empty: there is none."""
        return self.calibration.told if self.calibration is not None else ""

    @property
    def following(self) -> str:
        """Identity of the calibration that is taken up with the next coil; empty: none waits."""
        following = self._following
        return following.calibration.identity if following is not None else ""

    @property
    def identity(self) -> str:
        """Identity of the calibration, as verdicts tell it; empty: there is none."""
        return self.calibration.identity if self.calibration is not None else ""

    def meet(self, serial: str) -> None:
        """Apply the calibration of the camera with this serial from now on; `trouble` says why one cannot be used."""
        if serial == self._met:
            if self.trouble is not None:
                self.take_up()
            return
        try:
            self.begin(serial)
        except ConfigError as error:
            self.trouble = str(error)
            log.error("calibration_refused", serial=self.serial, error=self.trouble)

    def begin(self, serial: str) -> None:
        """Do what `meet` does, but raise ConfigError for a calibration that cannot be used."""
        with self._changing:
            self._met, self.serial = serial, serial
            self._following, self.refused = None, None
        self.calibration, self._flat_field, self.trouble = None, None, None
        self.columns, self.capture = self._line.across, self.configured
        prepared = self._prepared(serial)
        if prepared is not None:
            self._apply(prepared)

    def look(self) -> None:
        """Find the calibration of this camera again: another one is taken up with the next coil, or refused.

        For a thread of its own, since the disk may hang. A calibration that is gone stays in force.
        """
        serial = self._met
        if serial is None:
            return
        try:
            prepared, refused = self._prepared(serial), None
        except ConfigError as error:
            prepared, refused = None, str(error)
        if prepared is not None and prepared.calibration.identity == self.identity:
            prepared = None  # it holds already
        with self._changing:
            if serial != self._met:
                return  # another camera has taken its place meanwhile
            is_news = refused != self.refused
            self._following, self.refused = prepared, refused
        if refused is not None and is_news:
            log.error("calibration_refused", serial=self.serial, error=refused)
        elif prepared is not None:
            log.info("calibration_waits", serial=prepared.calibration.serial, identity=prepared.calibration.identity)

    def take_up(self) -> None:
        """Apply what `look` has found: a coil begins, or lines are missed for want of a calibration."""
        with self._changing:
            following, self._following = self._following, None
        if following is not None:
            self.trouble = None
            self._apply(following)

    def _prepared(self, serial: str) -> "_Prepared | None":
        calibration = self._find(serial)
        if calibration is None:
            return None
        correction = None
        check_calibration(calibration, f"calibration of {calibration.serial}", serial, self._line.width_px)
        if (flat_field := calibration.flat_field) is not None:
            if flat_field.per == "pixel" and self._line.encoder is not None and not self._line.encoder.triggers:
                raise ConfigError(
                    f"calibration of {calibration.serial}: its flat field is per pixel, but the lines of this camera "
                    "are resampled ([line.encoder] triggers = false); calibrate it per column"
                )
            correction = FlatFieldCorrection(flat_field, self._line.frame_lines)
        columns = calibrated_line(self._line, calibration).across
        return _Prepared(calibration, correction, columns, calibrated_capture(self.configured, calibration))

    def _apply(self, prepared: "_Prepared") -> None:
        calibration, self._flat_field = prepared.calibration, prepared.flat_field
        self.columns, self.capture = prepared.columns, prepared.capture
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
