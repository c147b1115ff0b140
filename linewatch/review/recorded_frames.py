"""Reads a recording as the frames on which the service decided: the only place where a review needs `capture`.

A recording holds grabs. Which of their lines form a frame, where a coil ends within a grab, and what the next coil is
called is decided by `capture.admission` alone; a second implementation here would come to other positions.
"""

from collections.abc import Iterator

from linewatch.capture.admission import Admission
from linewatch.capture.calibrated import CalibrationInForce, FindCalibration, no_calibration
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Frame
from linewatch.contracts.ports import Camera


def recorded_frames(camera: Camera, line: LineSettings, find: FindCalibration = no_calibration) -> Iterator[Frame]:
    """Open the camera and yield its frames in order; the pixels of one are valid until the next.

    find: finds the calibration that is applied to the pixels. Raises SourceError, and ConfigError for a calibration
    that cannot be used.
    """
    ring = FrameRing(2, line.frame_lines, line.width_px)  # the caller's frame, and the one being read
    calibrated = CalibrationInForce(line, find)
    admission = Admission(line, CaptureSettings(), ring, calibrated=calibrated)
    with camera:
        calibrated.begin(camera.serial)
        while (grab := camera.read()) is not None:
            for frame in admission.frames(grab):
                yield frame
                if frame.slot is not None:
                    ring.release(frame.slot)
