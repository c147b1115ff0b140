"""A recorded video as a camera."""

import threading
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from pydantic import Field

from linewatch.capture.cameras.folder import derived_grab
from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.position.timestamps import LongestGap, TimestampedCamera
from linewatch.capture.sidecar import Sidecar, checksum, read_sidecar, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab, PositionSource
from linewatch.contracts.ports import Camera, Clock

_REMEDY = "expected an FFV1, HFYU or MJPG video in AVI or MKV; set [source] path"
_ATTEMPTS = 8
"""Reads that fail in a row before the video counts as ended: each damaged frame fails one, the end fails all."""


class RecordingSource(SourceSettings):
    """A recorded video (FFV1, HFYU or MJPG in AVI/MKV), with the sidecar of `linewatch record` for positions."""

    type: Literal["recording"]
    path: Annotated[Path, Field(strict=False)]
    coil: CoilName | None = Field(
        default=None, description="for a recording without a sidecar; default: the file's name"
    )
    times: Literal["sidecar"] | None = Field(
        default=None, description="place grabs by their times and line_rate_hz, not by the positions in the sidecar"
    )
    longest_gap_s: LongestGap = 1.0

    @property
    def position_source(self) -> PositionSource:
        if self.times is not None:
            return PositionSource.TIMESTAMPS
        return PositionSource.SIDECAR if sidecar_path(self.path).exists() else PositionSource.LINE_RATE

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        recording = RecordingCamera(self.path, line, self.coil)
        if self.times is None:
            return recording
        try:
            return TimestampedCamera(recording, line, recording.times_ns(), self.longest_gap_s)
        except SourceError:
            recording.close()
            raise


class RecordingCamera:
    """Gives the grabs of a video, in order.

    With the sidecar that `linewatch record` writes beside the video, it gives exactly the grabs that were recorded:
    gaps, coils, encoder, times. Without one, positions and times follow from the line settings and grabs are not
    `encoded`. A damaged frame (undecodable, missing, or not the bytes that were recorded) is a grab with fault CORRUPT,
    and reading continues behind it; without a sidecar, frames whose headers are lost are missing at the end instead.
    Raises SourceError when the file is missing, is not a video, contains no frame or does not fit `line`.
    """

    live = False

    def __init__(self, path: Path, line: LineSettings, coil: str | None = None) -> None:
        self._path = path
        self._line = line
        self._coil = coil or coil_name(path.stem)
        self._sidecar = read_sidecar(sidecar_path(path)) if sidecar_path(path).exists() else None
        self._video = _Video(path)
        try:
            self._check(path)
        except SourceError:
            self._video.close()
            raise
        grabs = () if self._sidecar is None else self._sidecar.grabs
        self._last_grab_with = {entry.crc32: number for number, entry in enumerate(grabs) if entry.crc32 is not None}
        self.grabs: int | None = (self._video.expected or None) if self._sidecar is None else len(grabs)
        self._next = 0
        self._stopped = threading.Event()

    def read(self) -> Grab | None:
        if self._stopped.is_set():
            return None
        number, self._next = self._next, self._next + 1
        if self._sidecar is None:
            return self._derived(number)
        return self._recorded(self._sidecar, number)

    def times_ns(self) -> tuple[int, ...]:
        """Return when each grab was taken, from the sidecar. Raises SourceError without one, or for encoded grabs."""
        if self._sidecar is None:
            raise SourceError(
                f"[source] times = 'sidecar', but {self._path} has no sidecar; expected "
                f"{sidecar_path(self._path).name} beside it; put it there, or leave times out: then one frame lies "
                "directly behind the other"
            )
        if any(entry.encoded for entry in self._sidecar.grabs):
            raise SourceError(
                f"[source] times = 'sidecar', but an encoder placed the grabs of {self._path}; expected a recording "
                "without an encoder; leave times out: positions in the sidecar are better than any derived from times"
            )
        return tuple(entry.captured_ns for entry in self._sidecar.grabs)

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """End reading and close the file."""
        self.stop()
        self._video.close()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check(self, path: Path) -> None:
        if self._sidecar is not None:
            theirs, ours = self._sidecar.header.line, self._line
            if (theirs.width_px, theirs.frame_lines) != (ours.width_px, ours.frame_lines):
                raise SourceError(
                    f"{path} was recorded with {theirs.width_px} px x {theirs.frame_lines} lines, [line] expects "
                    f"{ours.width_px} x {ours.frame_lines}; set width_px and frame_lines as recorded"
                )
            if not self._sidecar.grabs:
                raise SourceError(
                    f"{path} contains no grab, expected at least one: it was stopped before its first; record again"
                )
            return
        if self._video.image is None:
            raise SourceError(f"{path} contains no frame that can be decoded; {_REMEDY}")
        if self._video.width != self._line.width_px or self._video.lines > self._line.frame_lines:
            raise SourceError(
                f"{path} has frames of {self._video.width} px x {self._video.lines} lines, [line] expects "
                f"{self._line.width_px} x {self._line.frame_lines}; set width_px and frame_lines as in the video"
            )

    def _derived(self, number: int) -> Grab | None:
        image = None
        if self._video.image is None:
            if number >= self._video.expected:
                return None
        elif self._video.number <= number:
            image = self._video.image
            self._video.advance()
        lines = self._video.lines
        return derived_grab(image, self._line, coil=self._coil, sequence=number, first_line=number * lines, lines=lines)

    def _recorded(self, sidecar: Sidecar, number: int) -> Grab | None:
        if number >= len(sidecar.grabs):
            return None
        entry = sidecar.grabs[number]
        image = None if entry.crc32 is None else self._matching(entry.crc32, number)
        return entry.grab(None if image is None else image[: entry.valid_lines])

    def _matching(self, crc32: int, number: int) -> np.ndarray | None:
        """Return the next video frame with that checksum, or None if a frame that belongs to a later grab comes first.

        Only the checksum decides to which grab a frame belongs: behind damage neither the decoder's frame count nor its
        times are reliable, and FFV1 detects damage only in part.
        """
        while (image := self._video.image) is not None:
            gray = image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])
            found = checksum(gray)
            if found == crc32:
                self._video.advance()
                return gray
            if self._last_grab_with.get(found, -1) > number:
                return None
            self._video.advance()
        return None


def recorded_line(path: Path) -> LineSettings | None:
    """Return the line settings that the recording `path` was made with; None without a sidecar. Raises SourceError."""
    return read_sidecar(sidecar_path(path)).header.line if sidecar_path(path).exists() else None


class _Video:
    """The frames of a video, one at a time."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            found = "is not a file" if path.exists() else "does not exist"
            raise SourceError(f"recording {path} {found}; {_REMEDY}")
        self._video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._video.isOpened():
            raise SourceError(f"{path} cannot be opened as a video; {_REMEDY}")
        if (int(self._video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF).to_bytes(4, "little") == b"Y800":
            self._video.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # gray as it is stored, not converted to three channels
        self._hz = self._video.get(cv2.CAP_PROP_FPS)
        self.width = int(self._video.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.lines = int(self._video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        # Only AVI stores the number of frames; in other containers it is an estimate.
        self.expected = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))) if path.suffix.lower() == ".avi" else 0
        self.number = -1
        self.image: np.ndarray | None = None
        self.advance()

    def advance(self) -> None:
        """Decode the next frame into `image`, None behind the last; `number` counts skipped frames as well.

        The time of a frame shows how many undecodable frames OpenCV skipped before it.
        """
        attempts = (self._decoded() for _ in range(_ATTEMPTS))
        self.image = next((image for image in attempts if image is not None), None)
        by_time = round(self._video.get(cv2.CAP_PROP_POS_MSEC) * self._hz / 1000)
        self.number = max(self.number + 1, by_time if by_time < self.expected else 0)

    def close(self) -> None:
        self._video.release()

    def _decoded(self) -> np.ndarray | None:
        try:
            there, image = self._video.read()
        except cv2.error:
            return None
        return image if there else None
