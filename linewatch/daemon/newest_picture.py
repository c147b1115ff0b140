"""The newest picture for people who watch: reduced while the frame is held, and only while somebody asks for it."""

import threading
import time
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import simplejpeg

from linewatch.contracts.frame import Frame
from linewatch.contracts.ports import Clock
from linewatch.wire.schema import NewestPictureBody

WIDTH_PX: Final = 800
EVERY_NS: Final = 200_000_000
ASKED_FOR_NS: Final = 2_000_000_000
"""After so long without a request no picture is made."""
JPEG_QUALITY: Final = 80


class NewestPictureMaker:
    """`follow` is for the decision's thread, `newest` for the serving one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_ns = -ASKED_FOR_NS
        self._next_ns = 0
        self._taken: tuple[Frame, np.ndarray, float] | None = None  # the frame without its pixels
        self._made: tuple[NewestPictureBody, bytes] | None = None

    def follow(self, frame: Frame) -> None:
        """Reduce the frame, where somebody has asked lately and the last one is a fifth of a second old."""
        now_ns = self._clock.now_ns()
        if now_ns < self._next_ns or now_ns - self._asked_ns > ASKED_FOR_NS or frame.pixels is None:
            return
        if not frame.valid_lines:
            return
        self._next_ns = now_ns + EVERY_NS
        seen = frame.pixels[: frame.valid_lines]
        step = max(1, round(seen.shape[1] / WIDTH_PX))
        lines, columns = max(1, seen.shape[0] // step), seen.shape[1] // step
        small = cv2.resize(seen, (columns, lines), interpolation=cv2.INTER_AREA) if step > 1 else seen.copy()
        with self._lock:
            self._taken = replace(frame, pixels=None), small, columns / seen.shape[1]

    def newest(self) -> tuple[NewestPictureBody, bytes] | None:
        """Return the newest picture as a JPEG, and have the next one made; None while there is none."""
        with self._lock:
            self._asked_ns, taken = self._clock.now_ns(), self._taken
        if taken is None:
            return None
        frame, pixels, scale = taken
        if self._made is None or self._made[0].ordinal != frame.ordinal:
            jpeg = simplejpeg.encode_jpeg(pixels[:, :, None], quality=JPEG_QUALITY, colorspace="GRAY")
            self._made = self._body(frame, scale, len(jpeg)), jpeg
        return self._made

    def _body(self, frame: Frame, scale: float, jpeg_bytes: int) -> NewestPictureBody:
        age_ns = self._clock.now_ns() - frame.captured_ns
        along_end_mm = frame.along_mm + frame.valid_lines * frame.mm_per_line
        return NewestPictureBody(
            ordinal=frame.ordinal,
            coil=frame.coil,
            side=frame.side,
            camera=frame.camera,
            first_line=frame.first_line,
            lines=frame.valid_lines,
            width_px=frame.columns.width_px,
            scale=scale,
            along_mm=(round(frame.along_mm, 3), round(along_end_mm, 3)),
            across_mm=(
                round(float(frame.columns.mm(0.0)), 3),
                round(float(frame.columns.mm(float(frame.columns.width_px))), 3),
            ),
            captured_unix_ns=max(0, time.time_ns() - age_ns),
            jpeg_bytes=jpeg_bytes,
        )
