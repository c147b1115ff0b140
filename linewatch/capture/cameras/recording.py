"""A recorded video as a camera."""

import threading
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import structlog
from pydantic import Field

from linewatch.capture.cameras.container import EXPECTED
from linewatch.capture.cameras.folder import derived_grab
from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.cameras.video import GrayFrame, Video
from linewatch.capture.position.timestamps import LongestGap, TimestampedCamera
from linewatch.capture.sidecar import Sidecar, checksum, read_sidecar, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab, PositionSource
from linewatch.contracts.ports import Camera, Clock

log = structlog.get_logger()

_MOST_TOLD = 20
"""Frames that are not inspected are logged one by one, up to so many."""


class RecordingSource(SourceSettings):
    """A recorded video of 8-bit gray frames, with the sidecar of `linewatch record` for positions."""

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
    """Gives the grabs of a video, in order, and a grab without an image for each frame that it lacks.

    With the sidecar that `linewatch record` writes beside the video, it gives exactly the grabs that were recorded:
    gaps, coils, encoder, times. Without one, positions and times follow from the line settings, grabs are not
    `encoded`, and time stamps that jump are lines that are missing. Faults: CORRUPT, a damaged frame, also if the
    decoder concealed the damage, or not the bytes that were recorded; TRUNCATED, a frame that the container or the
    sidecar promises behind the last one in the file, or a frame in the video behind the end of its sidecar; COLOUR, a
    frame that is not gray. Raises SourceError when the file is missing, is not a video, contains no frame, is deeper
    than 8 bits or does not fit `line`.
    """

    live = False

    @property
    def serial(self) -> str:
        return "" if self._sidecar is None else self._sidecar.header.serial

    def __init__(self, path: Path, line: LineSettings, coil: str | None = None) -> None:
        self._path = path
        self._line = line
        self._coil = coil or coil_name(path.stem)
        self._sidecar = read_sidecar(sidecar_path(path)) if sidecar_path(path).exists() else None
        if self._sidecar is not None:
            self._check_sidecar(self._sidecar)
        if not path.is_file():
            found = "is not a file" if path.exists() else "does not exist"
            raise SourceError(f"recording {path} {found}; expected {EXPECTED}; set [source] path")
        self._video = Video(path)
        self._ahead: deque[GrayFrame] = deque()
        self._unfit: Counter[Cause] = Counter()
        try:
            if self._sidecar is None:
                self._check_video()
        except SourceError:
            self._video.close()
            raise
        grabs = () if self._sidecar is None else self._sidecar.grabs
        self._last_grab_with = {entry.crc32: number for number, entry in enumerate(grabs) if entry.crc32 is not None}
        self._surplus = self._unlisted() if self._sidecar is not None else 0
        self.grabs: int | None = self._video.expected if self._sidecar is None else len(grabs) + self._surplus
        self._frame: GrayFrame | None = None
        if self._sidecar is not None:
            try:
                self._frame = self._first_recorded()
            except SourceError:
                self._video.close()
                raise
        self._next = 0
        self._stopped = threading.Event()

    def read(self) -> Grab | None:
        if self._stopped.is_set():
            return None
        if self._sidecar is None:
            frame = self._ahead.popleft() if self._ahead else self._video.read()
            if frame is None:
                self._tell_rest()
                return None
            return self._derived(frame)
        number, self._next = self._next, self._next + 1
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

    def _check_sidecar(self, sidecar: Sidecar) -> None:
        theirs, ours = sidecar.header.line, self._line
        if (theirs.width_px, theirs.frame_lines) != (ours.width_px, ours.frame_lines):
            raise SourceError(
                f"{self._path} was recorded with {theirs.width_px} px x {theirs.frame_lines} lines, [line] expects "
                f"{ours.width_px} x {ours.frame_lines}; set width_px and frame_lines as recorded"
            )
        if not any(grab.lines for grab in sidecar.grabs):
            raise SourceError(
                f"{self._path} contains no grab with lines, expected at least one: it was stopped before its first; "
                "record again"
            )

    def _check_video(self) -> None:
        """Raise SourceError unless the frames fit the line and one of them can be inspected."""
        video, line = self._video, self._line
        if video.width != line.width_px or video.lines > line.frame_lines:
            raise SourceError(
                f"{self._path} has frames of {video.width} px x {video.lines} lines, [line] expects "
                f"{line.width_px} x {line.frame_lines}; set width_px and frame_lines as in the video"
            )
        if not video.length_known:
            log.warning("video_length_unknown", path=str(self._path))
        found: Counter[Cause] = Counter()
        while (frame := video.read()) is not None:
            self._ahead.append(frame if frame.fault is None else replace(frame, image=None))
            if frame.fault is None:
                return
            found[frame.fault] += 1
        causes = ", ".join(f"{count} {cause}" for cause, count in found.most_common())
        raise SourceError(
            f"{self._path}: none of {len(self._ahead)} frames can be inspected: found {causes}; expected {EXPECTED}; "
            + ("convert them to gray" if Cause.COLOUR in found else "copy the file again, or record it again")
        )

    def _first_recorded(self) -> GrayFrame | None:
        """Return the first frame that the sidecar lists. Raises SourceError when it lists others only."""
        while (frame := self._video.read()) is not None:
            if frame.image is not None and checksum(frame.image) in self._last_grab_with:
                return frame
        if self._last_grab_with:
            raise SourceError(
                f"{self._path}: found {self._video.packets} pictures, none of which is one of the "
                f"{len(self._last_grab_with)} in {sidecar_path(self._path).name}; expected the two that were recorded "
                "together; put the right sidecar beside the video, or remove it to replay by line rate alone"
            )
        return None

    def _unlisted(self) -> int:
        """Return how many frames the video holds behind the end of its sidecar, and log where the two differ."""
        assert self._sidecar is not None
        promised = sum(entry.video_frame is not None for entry in self._sidecar.grabs)
        if promised != self._video.packets:
            log.warning(
                "recording_incomplete",
                path=str(self._path),
                pictures_in_sidecar=promised,
                pictures_in_video=self._video.packets,
            )
        return max(0, self._video.packets - promised)

    def _derived(self, frame: GrayFrame) -> Grab:
        lines, image = self._video.lines, frame.image if frame.fault is None else None
        first = frame.number * lines
        grab = derived_grab(image, self._line, coil=self._coil, sequence=frame.number, first_line=first, lines=lines)
        if frame.fault is None:
            return grab
        self._tell(frame.fault, frame.number, self._video.time_s(frame.number))
        return replace(grab, fault=frame.fault)

    def _tell(self, fault: Cause, frame: int, time_s: float | None) -> None:
        self._unfit[fault] += 1
        if self._unfit.total() <= _MOST_TOLD:
            log.warning("video_frame_not_inspected", path=str(self._path), cause=str(fault), frame=frame, time_s=time_s)

    def _tell_rest(self) -> None:
        if self._unfit.total() > _MOST_TOLD:
            counts = {str(cause): count for cause, count in self._unfit.items()}
            log.warning("video_frames_not_inspected", path=str(self._path), frames_by_cause=counts)
        self._unfit.clear()

    def _recorded(self, sidecar: Sidecar, number: int) -> Grab | None:
        if number < len(sidecar.grabs):
            entry = sidecar.grabs[number]
            image = None if entry.crc32 is None else self._matching(entry.crc32, number)
            grab = entry.grab(None if image is None else image[: entry.valid_lines])
            if image is None and entry.crc32 is not None:
                if self._frame is None:
                    grab = replace(grab, fault=Cause.TRUNCATED)
                self._tell(grab.fault or Cause.CORRUPT, number, entry.captured_ns / 1e9)
            return grab
        behind = number - len(sidecar.grabs)
        if behind >= self._surplus:
            self._tell_rest()
            return None
        last, lines = sidecar.grabs[-1], self._line.frame_lines
        first = last.first_line + last.lines + behind * lines
        return replace(
            last.grab(None),
            sequence=last.sequence + 1 + behind,
            first_line=first,
            lines=lines,
            along_mm=last.along_mm + (first - last.first_line) * last.mm_per_line,
            encoded=False,
            change_line=None,
            fault=Cause.TRUNCATED,
        )

    def _matching(self, crc32: int, number: int) -> np.ndarray | None:
        """Return the next video frame with that checksum, or None if a frame that belongs to a later grab comes first.

        Only the checksum decides to which grab a frame belongs, and whether it is whole: behind damage neither a
        decoder's frame count nor its times are reliable.
        """
        while (frame := self._frame) is not None:
            if frame.image is not None:
                found = checksum(frame.image)
                if found == crc32:
                    self._frame = self._video.read()
                    return frame.image
                if self._last_grab_with.get(found, -1) > number:
                    return None
            elif frame.fault is Cause.TRUNCATED:
                self._frame = None
                return None
            self._frame = self._video.read()
        return None


def recorded_line(path: Path) -> LineSettings | None:
    """Return the line settings that the recording `path` was made with; None without a sidecar. Raises SourceError."""
    return read_sidecar(sidecar_path(path)).header.line if sidecar_path(path).exists() else None
