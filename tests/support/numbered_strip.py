"""A strip whose lines contain their number in their pixels, under a camera that an encoder triggers."""

from collections.abc import Callable, Sequence

import numpy as np

from linewatch.capture.admission import Admission
from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.frame import Frame, Grab
from linewatch.contracts.ports import Camera
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.course import Course
from linewatch.simulation.encoder import SpeedProfile

BASE = 200


def line_settings(**encoder: object) -> LineSettings:
    fields: dict = {"counts_per_mm": 4.0, "counts_per_line": 4.0} | encoder
    return LineSettings(width_px=32, frame_lines=16, mm_per_line=1.0, encoder=EncoderSettings(**fields))


class NumberedStrip:
    """A strip like `SimulatedStrip`, from whose lines `line_numbers` reads their numbers."""

    def __init__(self, total_lines: int, line: LineSettings) -> None:
        self.total_lines = total_lines
        self.line = line

    def lines(self, first_line: int, count: int) -> np.ndarray:
        numbers = np.arange(first_line, first_line + count)
        assert numbers[0] >= 0
        assert numbers[-1] < self.total_lines
        out = np.full((count, self.line.width_px), 90, np.uint8)
        for digit in range(3):
            out[:, digit] = 20 + numbers // BASE**digit % BASE
        return out


def line_numbers(pixels: np.ndarray) -> list[int]:
    digits = pixels[:, :3].astype(int) - 20
    return (digits @ [BASE**digit for digit in range(3)]).tolist()


def course(total_lines: int, turns: Sequence[tuple[int, int]] = ()) -> Course:
    return Course(total_lines, tuple((at, min(at, back), 0.1) for at, back in sorted(turns) if at < total_lines))


def raw_camera(route: Course, line: LineSettings, welds: Sequence[int] = (), speed: float = 5000.0) -> SimulatorCamera:
    """Return a camera whose grabs are not placed yet, over strip at 5 m/s."""
    strip = NumberedStrip(route.total_lines, line)
    profile = SpeedProfile.steady(route.rows * line.mm_per_line, speed)
    return SimulatorCamera(strip, profile, None, "A", False, route, welds)  # type: ignore[arg-type]


def admitted(camera: Camera, line: LineSettings, admission: Admission | None = None) -> list[Frame]:
    """Return all frames of a raw camera's grabs, with a ring slot each."""
    admission = admission or Admission(line, CaptureSettings(), FrameRing(4096, line.frame_lines, line.width_px))
    encoded = EncoderTriggeredCamera(camera, line)
    frames: list[Frame] = []
    while (grab := encoded.read()) is not None:
        frames += admission.admit(grab)
    return frames


class ListCamera:
    """A camera that gives a list of grabs."""

    def __init__(self, grabs: Sequence[Grab], *, live: bool = False) -> None:
        self.live = live
        self.grabs: int | None = len(grabs)
        self.closed = False
        self.serial = ""
        self._left = iter(grabs)

    def read(self) -> Grab | None:
        return next(self._left, None)

    def stop(self) -> None:
        self._left = iter(())

    def __enter__(self) -> "ListCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        self.closed = True


def accounted(frames: Sequence[Frame], off_lines: int | Callable[[int], int] = 0) -> dict[int, bool]:
    """Return, per strip line, whether it was seen. Each line must come once, within `off_lines` of its place.

    off_lines: one bound for all lines, or the bound of each line.
    """
    lines: dict[int, bool] = {}
    head, before = 0, None
    for frame in frames:
        if before is not None and frame.coil != before.coil:
            head += before.first_line + before.lines
            assert frame.first_line == 0
            assert frame.along_mm == 0.0
        elif before is not None:
            assert frame.first_line == before.first_line + before.lines
        shown = [] if frame.pixels is None else line_numbers(frame.pixels[: frame.valid_lines])
        for i in range(frame.lines):
            line = head + frame.first_line + i
            assert line not in lines
            lines[line] = i < len(shown)
            if lines[line]:
                most = off_lines(line) if callable(off_lines) else off_lines
                assert abs(shown[i] - line) <= most, "a line of strip at another line's place"
        before = frame
    return lines
