"""`linewatch record`: writes a camera's grabs to disk, so that they can be replayed exactly."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from linewatch.capture.sidecar import SidecarGrab, SidecarHeader, checksum, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera

_VIDEO_HZ = 50.0  # only for video players; the times are in the sidecar
_WRITER_BUFFER = 2 * 262_144  # bytes that the video writer may still hold back, and those that closing adds
_INDEX_BYTES = 64  # upper bound of an AVI's index per frame


class Ended(StrEnum):
    """Why a recording ended."""

    SOURCE = "source"  # the camera ended or was stopped
    SIZE = "size"  # the size bound was reached


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What was recorded."""

    path: Path
    grabs: int
    lines: int
    size_mb: float
    ended: Ended


class Recorder:
    """Writes a lossless FFV1 video in AVI, readable up to the last written frame after a kill, and its sidecar.

    Damage to the video costs the frames up to the next key frame, at most 12. Pixels that an 8-bit gray video cannot
    hold (colour, 16 bits, another width) are not kept: their grab is replayed without an image, with its fault.
    Raises SourceError when a file exists already or cannot be written.
    """

    def __init__(self, path: Path, line: LineSettings, max_mb: float) -> None:
        if path.suffix.lower() != ".avi":
            raise SourceError(f"cannot record to {path}: found suffix {path.suffix!r}, expected .avi; rename it")
        for taken in (path, sidecar_path(path)):
            if taken.exists():
                raise SourceError(f"{taken} exists already; choose another name, recordings are never overwritten")
        self._path = path
        self._line = line
        self._max_bytes = max_mb * 1e6
        self._frames = 0
        self.grabs = 0
        self.lines = 0
        try:
            self._sidecar = sidecar_path(path).open("xb", buffering=0)
        except OSError as error:
            raise SourceError(
                f"cannot write recording {path}: {error.strerror}; expected a writable folder; choose another"
            ) from error
        size = (line.width_px, line.frame_lines)
        codec = cv2.VideoWriter.fourcc(*"FFV1")
        self._video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, _VIDEO_HZ, size, isColor=False)
        try:
            if not self._video.isOpened():
                raise SourceError(
                    f"cannot write recording {path}: OpenCV has no FFV1 writer, expected one; install the pinned opencv"
                )
            self._note(SidecarHeader(line=line).model_dump_json())
        except SourceError:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """Bytes on disk now; the writer may still hold some back."""
        return self._path.stat().st_size + self._sidecar_bytes() if self._path.exists() else self._sidecar_bytes()

    def write(self, grab: Grab) -> bool:
        """Write the grab and return True; return False if it might exceed the size bound. Raises SourceError."""
        raw = self._line.width_px * self._line.frame_lines
        if self.size_bytes + raw + _WRITER_BUFFER + _INDEX_BYTES * (self._frames + 1) > self._max_bytes:
            return False
        gray, fault = self._representable(grab)
        frame = np.zeros((self._line.frame_lines, self._line.width_px), np.uint8)
        if gray is not None:
            frame[: len(gray)] = gray
            self._video.write(frame)
        entry = SidecarGrab(
            coil=coil_name(grab.coil),
            sequence=grab.sequence,
            first_line=grab.first_line,
            lines=grab.lines,
            valid_lines=0 if gray is None else len(gray),
            encoder_count=grab.encoder_count,
            along_mm=grab.along_mm,
            mm_per_line=grab.mm_per_line,
            captured_ns=grab.captured_ns,
            encoded=grab.encoded,
            fault=fault,
            video_frame=None if gray is None else self._frames,
            crc32=None if gray is None else checksum(frame),
            position_fault=grab.position_fault,
            change_line=grab.change_line,
        )
        self._note(entry.model_dump_json())
        self._frames += gray is not None
        self.grabs += 1
        self.lines += grab.lines
        return True

    def close(self) -> None:
        self._video.release()
        self._sidecar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _representable(self, grab: Grab) -> tuple[np.ndarray | None, Cause | None]:
        image = grab.image
        if image is None:
            return None, grab.fault or Cause.CORRUPT
        if image.dtype != np.uint8:
            return None, Cause.DEPTH
        if image.ndim == 3 and (image != image[..., :1]).any():
            return None, Cause.COLOUR
        gray = image[..., 0] if image.ndim == 3 else image
        if gray.shape[1] != self._line.width_px or not 0 < len(gray) <= self._line.frame_lines:
            return None, Cause.WRONG_SIZE
        return gray, grab.fault

    def _note(self, row: str) -> None:
        try:
            data = row.encode() + b"\n"
            if self._sidecar.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise SourceError(
                f"recording {self._path} stopped after {self.grabs} grabs: {error.strerror}; free space on the disk"
            ) from error

    def _sidecar_bytes(self) -> int:
        return sidecar_path(self._path).stat().st_size


def record(
    camera: Camera, path: Path, line: LineSettings, max_mb: float, on_grab: Callable[[Grab], None] | None = None
) -> RecordingSummary:
    """Record until the camera ends or is stopped, or the size bound is reached. Raises SourceError."""
    ended = Ended.SOURCE
    with Recorder(path, line, max_mb) as recorder:
        while (grab := camera.read()) is not None:
            if not recorder.write(grab):
                ended = Ended.SIZE
                break
            if on_grab is not None:
                on_grab(grab)
    return RecordingSummary(path, recorder.grabs, recorder.lines, recorder.size_bytes / 1e6, ended)
