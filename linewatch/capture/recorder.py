"""`linewatch record`: writes a camera's grabs to disk, so that they can be replayed exactly."""

import errno
import io
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from av.container import OutputContainer

from linewatch.capture.cameras.video import read_back
from linewatch.capture.gray import gray_of
from linewatch.capture.sidecar import SidecarGrab, SidecarHeader, checksum, sidecar_path
from linewatch.config.calibration_file import CameraCalibration
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_VIDEO_HZ = 50  # only for video players; the times are in the sidecar
_FFV1 = {"level": "3", "slicecrc": "1", "slices": "4"}
"""With a checksum over each slice, so that damage shows without the sidecar as well."""
_CLOSING_BYTES = 65_536  # upper bound of what closing adds beside the index
_INDEX_BYTES = 64  # upper bound of an AVI's index per frame
_REMEDIES = {
    errno.ENOSPC: "free space on the disk",
    errno.EDQUOT: "raise the quota or free space within it",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f)",
    errno.EROFS: "mount the disk for writing",
    errno.ENOENT: "choose a folder that stays",
}


class Ended(StrEnum):
    """Why a recording ended."""

    SOURCE = "source"  # the camera ended or was stopped
    SIZE = "size"  # the size bound was reached


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What was recorded, as it was read back from the disk."""

    path: Path
    grabs: int
    lines: int
    size_mb: float
    ended: Ended
    metres: float


class _OutputFile(io.RawIOBase):
    """A new file whose every write is complete or raises OSError. `lost` is the first such error.

    PyAV writes through it, so that FFmpeg's own buffers and their silent errors are not between us and the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb", buffering=0)
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: "Buffer") -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.lost = self.lost or error
            raise
        return memoryview(data).nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def check_place(self) -> None:
        """Raise OSError when the path no longer leads to this file: a reader of the path would not find it."""
        try:
            there, own = os.stat(self._path), os.fstat(self._file.fileno())
            gone = (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino)
        except OSError:
            gone = True
        if gone:
            raise OSError(errno.ENOENT, f"{self._path} was removed or replaced")

    def cut(self, size_bytes: int) -> None:
        """Drop what lies behind; a full disk allows that."""
        os.ftruncate(self._file.fileno(), size_bytes)
        self._file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
        super().close()


class Recorder:
    """Writes a lossless FFV1 video in AVI, readable up to the last written frame after a kill, and its sidecar.

    Damage to the video costs the frames that it hits. Pixels that an 8-bit gray video cannot hold (colour, 16 bits,
    another width) are not kept: their grab is replayed without an image, with its fault. Each grab is in both files or
    in neither. Raises SourceError when a file exists already or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        line: LineSettings,
        max_mb: float,
        serial: str = "",
        calibration: CameraCalibration | None = None,
    ) -> None:
        if path.suffix.lower() != ".avi":
            raise SourceError(f"cannot record to {path}: found suffix {path.suffix!r}, expected .avi; rename it")
        for taken in (path, sidecar_path(path)):
            if taken.exists() or taken.is_symlink():
                raise SourceError(f"{taken} exists already; choose another name, recordings are never overwritten")
        self._path = path
        self._line = line
        self._max_bytes = max_mb * 1e6
        self._pictures = 0
        self._last_crc32: int | None = None
        self.grabs = 0
        self.lines = 0
        self.metres = 0.0
        self._closed = False
        opened: list[_OutputFile] = []
        try:
            for part in (sidecar_path(path), path):
                opened.append(_OutputFile(part))
            self._sidecar, self._file = opened
            header = SidecarHeader(line=line, serial=serial, calibration=calibration)
            self._sidecar.write(header.model_dump_json(exclude_none=True).encode() + b"\n")
            self._video, self._stream = self._writer()
        except (OSError, av.FFmpegError) as error:
            for file in opened:
                file.close()
            for part in (sidecar_path(path), path)[: len(opened)]:
                part.unlink(missing_ok=True)
            raise SourceError(
                f"cannot write recording {path}: {error.strerror}; expected a writable folder with free space; choose "
                "another"
            ) from error
        self._whole = (self._file.size_bytes, self._sidecar.size_bytes)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk now."""
        return sum(self._whole) if self._closed else self._file.size_bytes + self._sidecar.size_bytes

    def write(self, grab: Grab) -> bool:
        """Write the grab and return True; return False if it might exceed the size bound. Raises SourceError."""
        raw = self._line.width_px * self._line.frame_lines
        if self.size_bytes + raw + _CLOSING_BYTES + _INDEX_BYTES * (self._pictures + 1) > self._max_bytes:
            return False
        gray, fault = self._representable(grab)
        frame = np.zeros((self._line.frame_lines, self._line.width_px), np.uint8)
        crc32 = None
        if gray is not None:
            frame[: len(gray)] = gray
            crc32 = checksum(frame)
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
            video_frame=None if gray is None else self._pictures,
            crc32=crc32,
            position_fault=grab.position_fault,
            change_line=grab.change_line,
        )
        try:
            if gray is not None:
                self._put(frame)
            self._sidecar.write(entry.model_dump_json().encode() + b"\n")
            for file in (self._file, self._sidecar):
                file.check_place()
        except (OSError, av.FFmpegError) as error:
            reason = self._file.lost or error
            self._cut_to_whole()
            raise SourceError(
                f"{reason.strerror}; {_REMEDIES.get(reason.errno or 0, 'look at the disk')}, and record again"
            ) from error
        if gray is not None:
            self._pictures, self._last_crc32 = self._pictures + 1, crc32
        self.grabs += 1
        self.lines += grab.lines
        self.metres += grab.lines * grab.mm_per_line / 1000
        self._whole = (self._file.size_bytes, self._sidecar.size_bytes)
        return True

    def close(self) -> None:
        """Finish both files. What could not be written is told by `check`."""
        if self._closed:
            return
        try:
            self._video.close()
            self._whole = (self._file.size_bytes, self._whole[1])
        except (OSError, av.FFmpegError):
            self._cut_to_whole()  # without its index a video is read from its beginning
        try:
            for file in (self._file, self._sidecar):
                file.sync()
        except OSError as error:
            self._file.lost = self._file.lost or error
        self._closed = True
        self._file.close()
        self._sidecar.close()

    def check(self) -> str | None:
        """Read a closed recording back; return why it is not whole, None when it is. Removes one without a grab."""
        if (lost := self._file.lost or self._sidecar.lost) is not None and not self.grabs:
            for part in (self._path, sidecar_path(self._path)):
                part.unlink(missing_ok=True)
            return f"nothing is kept: {lost.strerror}"
        if self._path.exists() and sidecar_path(self._path).exists():
            pictures, crc32 = read_back(self._path)
        else:
            return "nothing is kept: its files were removed"
        if pictures < self._pictures or (pictures == self._pictures and crc32 != self._last_crc32):
            return f"of {self._pictures} pictures {pictures} can be read back"
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _writer(self) -> tuple[OutputContainer, "av.VideoStream"]:
        video = av.open(self._file, "w", format="avi", options={"fflags": "+flush_packets"})
        stream = video.add_stream("ffv1", rate=_VIDEO_HZ, options=_FFV1)
        stream.width, stream.height, stream.pix_fmt = self._line.width_px, self._line.frame_lines, "gray"
        stream.codec_context.gop_size = 1
        stream.codec_context.thread_type = "SLICE"
        video.start_encoding()
        return video, stream

    def _put(self, frame: np.ndarray) -> None:
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")):
            self._video.mux(packet)
        if self._file.lost is not None:
            raise self._file.lost

    def _cut_to_whole(self) -> None:
        for file, size_bytes in zip((self._file, self._sidecar), self._whole, strict=True):
            with suppress(OSError):  # both files can be read in spite of a torn end
                file.cut(size_bytes)

    def _representable(self, grab: Grab) -> tuple[np.ndarray | None, Cause | None]:
        if grab.image is None:
            return None, grab.fault or Cause.CORRUPT
        gray = gray_of(grab.image, self._line)
        if isinstance(gray, Cause):
            return None, gray
        return (gray, grab.fault) if len(gray) else (None, Cause.WRONG_SIZE)


def record(
    camera: Camera,
    path: Path,
    line: LineSettings,
    max_mb: float,
    on_grab: Callable[[Grab], None] | None = None,
    calibration: CameraCalibration | None = None,
) -> RecordingSummary:
    """Record until the camera ends or is stopped, or the size bound is reached, and read the recording back.

    Pixels are kept as they come. calibration: of the camera; it is kept beside them, so that a replay applies it.

    Raises SourceError, which says what is kept, when the source is lost or the disk does not hold what was written.
    """
    ended, failure = Ended.SOURCE, None
    with Recorder(path, line, max_mb, camera.serial, calibration) as recorder:
        try:
            while (grab := camera.read()) is not None:
                if grab.fault is Cause.CAMERA and not recorder.grabs:
                    continue  # what passed before the camera came is not part of the recording
                if not recorder.write(grab):
                    ended = Ended.SIZE
                    break
                if on_grab is not None:
                    on_grab(grab)
        except SourceError as error:
            failure = error
    size_mb = recorder.size_bytes / 1e6
    found = recorder.check()
    if failure is not None or found is not None:
        kept = found or f"kept are {recorder.grabs} grabs, {recorder.metres:.1f} m, {size_mb:.1f} MB, which replay"
        raise SourceError(
            f"recording {path} stopped after {recorder.grabs} grabs, {recorder.metres:.1f} m: "
            f"{failure or 'the disk does not hold what was written'}; {kept}"
        ) from failure
    return RecordingSummary(path, recorder.grabs, recorder.lines, size_mb, ended, recorder.metres)
