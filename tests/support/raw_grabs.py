"""Grabs of a strip at 5 m/s as a camera gives them beside an encoder, and the frames that they become."""

from collections.abc import Sequence

import numpy as np
from numbered_strip import ListCamera

from linewatch.capture.admission import Admission
from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Frame, Grab
from linewatch.contracts.restart import LastPlace

RATE_HZ = 5_000.0


def grab(number: int, line: LineSettings, *, counter_at: int) -> Grab:
    """Return a raw grab of a strip at 5 m/s, whose lines hold their numbers. counter_at: what it shows at line 0."""
    first, encoder = number * line.frame_lines, line.encoder
    assert encoder is not None
    pixels = np.full((line.frame_lines, line.width_px), 90, np.uint8)
    numbers = np.arange(first, first + line.frame_lines)
    for digit in range(3):
        pixels[:, digit] = 20 + numbers // 200**digit % 200
    sign = 1 if encoder.counts_up else -1
    begin, stop = (counter_at + sign * round(at * encoder.counts_per_line) for at in (first, first + line.frame_lines))
    return Grab(
        image=pixels,
        coil="A",
        sequence=number,
        first_line=first,
        lines=line.frame_lines,
        encoder_count=begin % (1 << encoder.bits),
        along_mm=float(first),
        mm_per_line=1.0,
        captured_ns=round((first + line.frame_lines) / RATE_HZ * 1e9),
        encoder_stop=stop % (1 << encoder.bits),
    )


def admission(line: LineSettings) -> Admission:
    return Admission(line, CaptureSettings(), FrameRing(4096, line.frame_lines, line.width_px))


def frames_of(grabs: Sequence[Grab], line: LineSettings, last: LastPlace | None = None) -> list[Frame]:
    camera, intake = EncoderTriggeredCamera(ListCamera(grabs), line), admission(line)
    if last is not None:
        intake.resume(last)
    found: list[Frame] = []
    while (placed := camera.read()) is not None:
        found += intake.admit(placed)
    return found


def last_of(frame: Frame, **changes: object) -> LastPlace:
    fields: dict = {
        "coil": frame.coil,
        "source_coil": frame.source_coil,
        "head_line": frame.head_line,
        "between": False,
        "next_line": frame.first_line + frame.lines,
        "end_mm": frame.along_mm + frame.lines * frame.mm_per_line,
        "captured_ns": frame.captured_ns,
        "place": frame.place,
    }
    return LastPlace(**fields | changes)
