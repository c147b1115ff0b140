"""A recorded video as a camera."""

import threading
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from linewatch.capture.folder import coil_name, derived_grab
from linewatch.capture.sidecar import Sidecar, checksum, read_sidecar, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab

_REMEDY = "expected an FFV1, HFYU or MJPG video in AVI or MKV"


class RecordingCamera:
    """The grabs of a video, in order.

    With the sidecar that `linewatch record` writes beside it, exactly the grabs that were recorded: gaps, coils,
    encoder, times. Without, positions and times follow from the line settings and grabs are not `encoded`. A frame that
    is damaged (undecodable, missing, or not the bytes that were recorded) is a grab with fault CORRUPT, and reading
    goes on behind it. Raises SourceError when the file is missing, is no video, holds no frame or does not fit `line`.
    """

    live = False

    def __init__(self, path: Path, line: LineSettings, coil: str | None = None) -> None:
        self._line = line
        self._coil = coil or coil_name(path.stem)
        self._sidecar = read_sidecar(sidecar_path(path)) if sidecar_path(path).exists() else None
        self._video = _Video(path)
        try:
            self._check(path)
        except SourceError:
            self._video.close()
            raise
        self.grabs: int | None = self._video.expected if self._sidecar is None else len(self._sidecar.grabs)
        self._next = 0
        self._stopped = threading.Event()

    def read(self) -> Grab | None:
        if self._stopped.is_set():
            return None
        number, self._next = self._next, self._next + 1
        if self._sidecar is None:
            return self._derived(number)
        return self._recorded(self._sidecar, number)

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._video.close()

    def _check(self, path: Path) -> None:
        if self._sidecar is not None:
            theirs, ours = self._sidecar.header.line, self._line
            if (theirs.width_px, theirs.frame_lines) != (ours.width_px, ours.frame_lines):
                raise SourceError(
                    f"{path} was recorded with {theirs.width_px} px x {theirs.frame_lines} lines, [line] says "
                    f"{ours.width_px} x {ours.frame_lines}; set width_px and frame_lines as recorded"
                )
            if not self._sidecar.grabs:
                raise SourceError(f"{path} holds no grab: the recording was stopped before its first frame")
            return
        if self._video.ended:
            raise SourceError(f"{path} holds no frame that can be decoded; {_REMEDY}")
        if self._video.width != self._line.width_px or self._video.lines > self._line.frame_lines:
            raise SourceError(
                f"{path} has frames of {self._video.width} px x {self._video.lines} lines, [line] says "
                f"{self._line.width_px} x {self._line.frame_lines}; set width_px and frame_lines as in the video"
            )

    def _derived(self, number: int) -> Grab | None:
        image = self._video.frame(number)
        if image is None and self._video.ended and number >= self._video.expected:
            return None
        lines = self._video.lines
        return derived_grab(image, self._line, coil=self._coil, sequence=number, first_line=number * lines, lines=lines)

    def _recorded(self, sidecar: Sidecar, number: int) -> Grab | None:
        if number >= len(sidecar.grabs):
            return None
        entry = sidecar.grabs[number]
        image = None if entry.video_frame is None else self._video.frame(entry.video_frame)
        if image is not None:
            gray = image[: entry.valid_lines] if image.ndim == 2 else image[: entry.valid_lines, :, 0]
            # FFV1 checks itself only in parts; a frame that decodes to other bytes than were seen must not be judged.
            image = gray if checksum(gray) == entry.crc32 else None
        return entry.grab(image)


def recorded_line(path: Path) -> LineSettings | None:
    """The line settings that the recording `path` was made with; None without a sidecar. Raises SourceError."""
    return read_sidecar(sidecar_path(path)).header.line if sidecar_path(path).exists() else None


class _Video:
    """Frames by number, forward only. OpenCV skips what it cannot decode; the frames' times tell which were skipped."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            found = "is not a file" if path.exists() else "does not exist"
            raise SourceError(f"recording {path} {found}; {_REMEDY}")
        self._video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._video.isOpened():
            raise SourceError(f"{path} cannot be opened as a video; {_REMEDY}")
        if _fourcc(self._video, cv2.CAP_PROP_CODEC_PIXEL_FORMAT) == b"Y800":
            self._video.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # gray as it is stored, not blown up to three channels
        self._hz = self._video.get(cv2.CAP_PROP_FPS)
        count = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.width = int(self._video.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.lines = int(self._video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.ended = False
        self._at = -1
        self._image: np.ndarray | None = None
        # Only AVI writes down how many frames there are; elsewhere it is an estimate.
        self.expected = count if path.suffix.lower() == ".avi" else 0
        self._advance()

    def frame(self, number: int) -> np.ndarray | None:
        """Frame `number`; None when it was skipped or lies behind the end. Numbers must not go down."""
        while not self.ended and self._at < number:
            self._advance()
        return self._image if self._at == number and not self.ended else None

    def close(self) -> None:
        self._video.release()

    def _advance(self) -> None:
        self.ended, self._image = _next(self._video)
        if self.ended:
            return
        by_time = round(self._video.get(cv2.CAP_PROP_POS_MSEC) * self._hz / 1000)
        follows = self._at + 1
        self._at = (
            by_time if follows < by_time < self.expected or (not self.expected and by_time > follows) else follows
        )


def _next(video: cv2.VideoCapture) -> tuple[bool, np.ndarray | None]:
    try:
        there, image = video.read()
    except cv2.error:
        return True, None
    return not there, image if there else None


def _fourcc(video: cv2.VideoCapture, prop: int) -> bytes:
    return (int(video.get(prop)) & 0xFFFFFFFF).to_bytes(4, "little")
