"""A GenICam camera on GigE Vision or USB3 Vision, through Aravis: line-scan or area."""

import threading
import time
from typing import Any, ClassVar, Literal, Self

import numpy as np
import structlog
from pydantic import Field

from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.genicam.buffers import UNKNOWN_FRAME, EncoderCounts, FrameNumbers
from linewatch.capture.genicam.connection import GenicamConnection, small_socket_buffer
from linewatch.capture.genicam.hardware_time import HardwareTime
from linewatch.capture.genicam.library import aravis
from linewatch.capture.genicam.mono import MONO_FORMATS, MonoReader, mono_format
from linewatch.capture.genicam.settings import GenicamFeatures
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import LinewatchError, SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Clock

log = structlog.get_logger()

_WAIT_S = 0.1
_ASK_EVERY_S = 0.5  # while nothing comes
_TRIAL_S = 5.0  # whoever only tries a camera does not wait longer for the line to run
_COUNTER_TURN = 1 << 32
_BLIND_FRAMES = 10
"""So many frames in a row of which no line or count arrives: their packets do not pass the network."""


class GenicamSource(SourceSettings, GenicamFeatures):
    """A GenICam camera, line-scan or area, through Aravis; the extra `genicam`, see docs/first-camera.md."""

    type: Literal["genicam"]
    coil: CoilName = Field(default="COIL", description="name of the strip until a coil is started by its name")
    is_device: ClassVar[bool] = True

    @property
    def has_encoder_count(self) -> bool:
        return self.encoder_chunk is not None

    def told(self) -> tuple[str, ...]:
        return tuple(filter(None, (small_socket_buffer(),)))

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> "GenicamCamera":
        aravis()  # refuses early where it is missing
        return GenicamCamera(self, line, clock, live=live)


class GenicamCamera:
    """Gives the buffers of one camera as grabs. Entering it opens the camera; use it from one thread.

    A jump of the frame's number is lost lines. Of an incomplete buffer the leading lines that were received are given,
    with fault TRUNCATED; without its first packet it has no number, and none of its lines are given. It has no chunks:
    its encoder count is the one that the frames before it let expect. `captured_ns` is when the frame was taken, by the
    camera's clock put on the host's, or else when it arrived.

    Raises SourceError when the camera is lost: it is silent, answers no more, or another program has taken it.
    """

    live = True
    grabs: int | None = None

    def __init__(self, source: GenicamSource, line: LineSettings, clock: Clock, *, live: bool = True) -> None:
        self._source, self._line, self._clock = source, line, clock
        self._form = mono_format(source.pixel_format)
        self._reader = MonoReader(
            self._form, line.frame_lines, line.width_px, source.black_level or 0, source.white_level or 0
        )
        frame_s = line.frame_lines / line.line_rate_hz
        self._silence_s = source.silence_s or (max(1.0, 5 * frame_s) if source.trigger == "free" else None)
        self._live = live
        self._connection: GenicamConnection | None = None
        self._stopped = threading.Event()
        self._buffer: Any = None
        self._sequence = -1
        self._next_line = 0
        self._numbers = FrameNumbers()
        self._line_count: int | None = None
        self._counts = EncoderCounts(1 << (line.encoder.bits if line.encoder is not None else 32))
        self._hardware_time = HardwareTime()
        self._starved = 0
        self._blind = self._uncounted = 0
        self._serial = source.camera or ""

    @property
    def serial(self) -> str:
        """The camera's serial number; before it is opened, what the configuration calls it."""
        return self._serial

    def read(self) -> Grab | None:
        connection = self._connection
        if connection is None:
            return None
        self._give_back()
        heard_s = asked_s = time.monotonic()
        while not self._stopped.is_set():
            buffer = connection.wait(_WAIT_S)
            if buffer is not None:
                heard_s, self._buffer = time.monotonic(), buffer
                if (grab := self._grab(connection, buffer)) is not None:
                    return grab
                self._give_back()
                asked_s = heard_s
                continue
            now_s = time.monotonic()
            if now_s - asked_s > _ASK_EVERY_S:
                if not connection.held():
                    self._lose("answers no more, or another program has taken it, expected frames")
                asked_s = now_s
            if self._silence_s is not None and now_s - heard_s > self._silence_s:
                self._lose(f"sent nothing for {self._silence_s:g} s, expected frames all the time")
            if not self._live and now_s - heard_s > _TRIAL_S:
                told = connection.found.told
                self._close(lost=False)
                raise SourceError(
                    f"{told} is set, but sent nothing for {_TRIAL_S:g} s, expected a frame; where a trigger or an "
                    "encoder starts its lines, let the strip run, or try it with [source] trigger = 'free'"
                )
        return None

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        if not self._stopped.is_set() and self._connection is None:
            self._connection = GenicamConnection(self._source, self._line)
            self._serial = self._connection.found.serial
            try:
                self._connection.start(self._reader.image_bytes)
            except LinewatchError:
                self._close(lost=False)
                raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._close(lost=False)

    def _close(self, *, lost: bool) -> None:
        self._buffer = None
        if self._connection is not None:
            self._connection.close(lost=lost)
            self._connection = None

    def _lose(self, why: str) -> None:
        """Raises SourceError, with who holds the camera now."""
        assert self._connection is not None
        told, holder = self._connection.found.told, self._connection.holder()
        self._close(lost=True)
        held = f" (now held by {holder})" if holder and "does not name" not in holder else ""
        raise SourceError(f"{told} {why}{held}; check its power, its cable and the network")

    def _give_back(self) -> None:
        if self._buffer is not None and self._connection is not None:
            self._connection.pool.give(self._buffer)
        self._buffer = None

    def _grab(self, connection: GenicamConnection, buffer: Any) -> Grab | None:
        """Return the grab of a buffer; None for one that was given up when the stream was."""
        arrived_ns = self._clock.now_ns()
        statuses = aravis().BufferStatus
        status = buffer.get_status()
        if status in {statuses.ABORTED, statuses.CLEARED}:
            return None
        image, fault = self._image(connection, buffer, status)
        lost = self._numbers.lost_before(buffer.get_frame_id())
        source, frame_lines = self._source, self._line.frame_lines
        lines = frame_lines if fault is not None or image is None else len(image)
        self._sequence += 1 + lost
        lost_lines = lost * frame_lines
        if source.line_chunk:
            lost_lines = self._lost_lines(connection.chunk(buffer, source.line_chunk), lines, lost_lines)
        if lost_lines:
            late, self._starved = connection.starved > self._starved, connection.starved
            log.warning(
                "camera_lines_lost", camera=self._serial, lines=lost_lines, frames=lost, no_buffer_was_free=late
            )
        first_line = self._next_line + lost_lines
        self._next_line = first_line + lines
        count = None
        if source.encoder_chunk:
            count = self._counts.at(first_line, connection.chunk(buffer, source.encoder_chunk))
            if count is None:
                self._uncounted += 1
                if self._uncounted >= _BLIND_FRAMES:
                    self._lose(
                        f"sends frames without {source.encoder_chunk} ({_BLIND_FRAMES} in a row), expected it with each"
                    )
                return None  # nothing tells where it lies; the next count does
            self._uncounted = 0
        return Grab(
            image=image,
            coil=source.coil,
            sequence=self._sequence,
            first_line=first_line,
            lines=lines,
            encoder_count=first_line if count is None else count,
            along_mm=first_line * self._line.mm_per_line,
            mm_per_line=self._line.mm_per_line,
            captured_ns=self._taken_ns(buffer, arrived_ns),
            encoded=count is not None,
            fault=fault,
        )

    def _taken_ns(self, buffer: Any, arrived_ns: int) -> int:
        """Return when a frame was taken: by the camera's clock where its stamp is as long before the end each time.

        A frame is stamped at its beginning. How long one takes whose lines wait for a trigger is not known.
        """
        if self._source.trigger not in {"free", "frame"}:
            return arrived_ns
        return self._hardware_time.taken_ns(int(buffer.get_timestamp()), arrived_ns)

    def _image(self, connection: GenicamConnection, buffer: Any, status: Any) -> tuple[np.ndarray | None, Cause | None]:
        """Return the lines of a buffer that were received, and why they are not all there."""
        library = aravis()
        statuses, kinds = library.BufferStatus, library.BufferPayloadType
        memory = connection.pool.memory(buffer)
        whole = status == statuses.SUCCESS
        if not whole and status not in {statuses.TIMEOUT, statuses.MISSING_PACKETS}:
            cause = Cause.WRONG_SIZE if status == statuses.SIZE_MISMATCH else Cause.CORRUPT
            return None, self._unfit(cause, status.value_nick)
        lines = self._line.frame_lines
        if buffer.get_frame_id() == UNKNOWN_FRAME:
            return None, self._unfit(Cause.TRUNCATED, "its first packet is missing")
        # Aravis describes the picture of a whole buffer only, and not of the older kind of chunk data.
        if whole and buffer.get_payload_type() in {kinds.IMAGE, kinds.EXTENDED_CHUNK_DATA}:
            width, lines = buffer.get_image_width(), buffer.get_image_height()
            code = buffer.get_image_pixel_format() & 0xFFFFFFFF
            if code != self._form.code:
                mono = next((one for one in MONO_FORMATS if one.code == code), None)
                found = mono.name if mono else f"0x{code:08x}"
                return None, self._unfit(Cause.DEPTH if mono else Cause.COLOUR, f"pixel format {found}")
            if width != self._line.width_px or lines > self._line.frame_lines:
                return None, self._unfit(Cause.WRONG_SIZE, f"{width} px x {lines} lines")
        received = lines if whole else min(lines, memory.received() // self._reader.line_bytes)
        if not whole:
            self._unfit(Cause.TRUNCATED, f"{received} of {lines} lines received")
            self._blind = 0 if received else self._blind + 1
            if self._blind >= _BLIND_FRAMES:
                self._lose(
                    f"sends frames of which no line arrives ({_BLIND_FRAMES} in a row), expected pixels: its packets "
                    "do not pass the network; set [source] packet_size to the smallest MTU on the way, or raise it"
                )
        else:
            self._blind = 0
        image = self._reader.gray(memory.bytes, received) if received else None
        return image, None if whole else Cause.TRUNCATED

    def _unfit(self, cause: Cause, found: str) -> Cause:
        log.warning("grab_not_whole", camera=self._serial, cause=str(cause), found=found)
        return cause

    def _lost_lines(self, count: int | None, lines: int, by_frames: int) -> int:
        """Return how many lines are missing before a frame by the camera's counter of lines, if it tells."""
        before = self._line_count
        if count is None or before is None:
            known = count if before is None else before + by_frames
            self._line_count = None if known is None else known + lines
            return by_frames
        self._line_count = count + lines
        jump = (count - before) % _COUNTER_TURN
        return jump if jump < _COUNTER_TURN // 2 else by_frames
