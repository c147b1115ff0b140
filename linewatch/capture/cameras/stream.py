"""A network or USB camera that sends video: RTSP, MJPEG over HTTP, or V4L2."""

import os
import re
import threading
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

import structlog
from pydantic import Field, field_validator

from linewatch.capture.cameras.decoder_process import DecoderProcess, decoder, done_with
from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.cameras.stream_decoder import StreamOrder, StreamReport
from linewatch.capture.position.timestamps import LongestGap, Timeline
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab, PositionFault, PositionSource
from linewatch.contracts.ports import Camera, Clock

log = structlog.get_logger()

_SCHEMES: Final = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "mpjpeg", "https": "mpjpeg"}
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtp,udp,tcp,tls",
    "http": "http,tcp",
    "https": "https,http,tls,tcp",
}
"""What FFmpeg may open: no camera can lead it to a file of this host."""
_DEVICE = re.compile(r"/dev/[A-Za-z0-9/_.:-]+")
_SILENCE_S = 0.5
"""A stream without time stamps that is silent for longer has lost strip; less is the network's jitter."""
_LONGEST_LOGIN = 1000
_START_S = 20.0  # for the decoder's process to start, on a host without a free core
_SLACK_S = 2.0  # the decoder itself notices a silent camera first


class StreamSource(SourceSettings):
    """A camera's video stream. Its frames are 8-bit gray, `width_px` wide and at most `frame_lines` high."""

    type: Literal["stream"]
    is_device: ClassVar[bool] = True
    url: str = Field(
        max_length=1000,
        description="rtsp://HOST/PATH, rtsps://, http:// or https:// of a multipart MJPEG stream, or /dev/videoN; "
        "without user and password",
    )
    login_file: Annotated[Path | None, Field(strict=False)] = Field(
        default=None, description="file with USER:PASSWORD on its first line"
    )
    login_variable: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds USER:PASSWORD"
    )
    transport: Literal["tcp", "udp"] = Field(default="tcp", description="RTSP: how the pictures travel")
    open_timeout_s: float = Field(default=5.0, gt=0, le=60, description="a camera that answers later is absent")
    read_timeout_s: float = Field(default=5.0, gt=0, le=60, description="a camera that is silent for longer is lost")
    pixel_format: Literal["gray", "yuyv422", "nv12", "mjpeg"] | None = Field(
        default=None, description="V4L2: what to ask the camera for; none: its own choice"
    )
    frames_per_s: float | None = Field(default=None, gt=0, le=1000, description="V4L2: what to ask the camera for")
    coil: CoilName = "STREAM"
    longest_gap_s: LongestGap = 1.0

    @field_validator("url")
    @classmethod
    def _has_no_login(cls, url: str) -> str:
        """Say what is wrong without repeating the address, which may hold a password."""
        if _DEVICE.fullmatch(url):
            return url
        if "@" in url:
            raise ValueError(
                "contains a user or a password, expected an address without; write USER:PASSWORD into a file and name "
                "it by login_file, or name an environment variable by login_variable"
            )
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is no address, expected rtsp://HOST/PATH, http://HOST/PATH or /dev/videoN") from None
        if parts.scheme not in _SCHEMES or not host or not url.isprintable() or " " in url:
            raise ValueError(
                f"found the scheme {parts.scheme[:20]!r}, expected rtsp://HOST/PATH, http://HOST/PATH or /dev/videoN"
            )
        return url

    @property
    def position_source(self) -> PositionSource:
        return PositionSource.TIMESTAMPS

    @property
    def place(self) -> str:
        """The camera's address for messages: without its query, which may hold a password."""
        parts = urlsplit(self.url)
        return self.url if not parts.scheme else urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        order = self._order(line)
        process = decoder()
        try:
            process.order(order)
            report, _ = process.report(self.open_timeout_s + _START_S)
            if report.said == "opened":
                self._check(report, line)
                return StreamCamera(self, line, process)
        except BaseException:
            process.close()
            raise
        done_with(process)
        raise SourceError(
            f"no camera at {self.place}: {report.why or report.said}; expected a stream; check its power, its cable "
            "and [source] url"
        )

    def _check(self, report: StreamReport, line: LineSettings) -> None:
        if not report.width or not report.lines:
            raise SourceError(f"{self.place} sends no picture that can be decoded, expected video; look at the camera")
        if report.bits > 8 or report.width != line.width_px or report.lines > line.frame_lines:
            raise ConfigError(
                f"{self.place} sends {report.width} px x {report.lines} lines of {report.bits} bits, [line] expects "
                f"{line.width_px} x {line.frame_lines} of 8 bits; set width_px and frame_lines, or the camera"
            )

    def _order(self, line: LineSettings) -> StreamOrder:
        scheme = urlsplit(self.url).scheme
        if not scheme:
            options = {"video_size": f"{line.width_px}x{line.frame_lines}"}
            if self.pixel_format is not None:
                options["input_format" if self.pixel_format == "mjpeg" else "pixel_format"] = self.pixel_format
            if self.frames_per_s is not None:
                options["framerate"] = f"{self.frames_per_s:g}"
            return StreamOrder(self.url, "v4l2", options, self.open_timeout_s, self.read_timeout_s, stamped=True)
        options = {"protocol_whitelist": _PROTOCOLS[scheme], "fflags": "nobuffer", "analyzeduration": "500000"}
        if scheme.startswith("rtsp"):
            # Measuring the frame rate, which nobody asks for, takes half a second.
            options |= {"rtsp_transport": self.transport, "allowed_media_types": "video", "fpsprobesize": "0"}
        form, stamped = _SCHEMES[scheme], scheme.startswith("rtsp")
        return StreamOrder(self._with_login(), form, options, self.open_timeout_s, self.read_timeout_s, stamped)

    def _with_login(self) -> str:
        login = None
        if self.login_file is not None:
            try:
                with self.login_file.open(encoding="utf-8") as file:
                    login = file.readline(_LONGEST_LOGIN).strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"[source] login_file = {str(self.login_file)!r} cannot be read ({type(error).__name__}), expected "
                    "a file with USER:PASSWORD on its first line; write it, readable by the service's user only"
                ) from None
        elif self.login_variable is not None:
            login = os.environ.get(self.login_variable)
        if self.login_file is None and self.login_variable is None:
            return self.url
        user, colon, password = (login or "").partition(":")
        if not user or not colon:
            where = f"file {self.login_file}" if self.login_file else f"environment variable {self.login_variable}"
            raise ConfigError(f"[source]: found no USER:PASSWORD in the {where}, expected both; write it there")
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))


class StreamCamera:
    """Gives the frames of a stream, placed by its time stamps, and those that were dropped as missing lines.

    A stream without time stamps (MJPEG over HTTP) is placed frame behind frame; where it was silent for longer than
    `_SILENCE_S`, the time of arrival tells how much strip passed.
    """

    live = True
    grabs: int | None = None
    serial = ""

    def __init__(self, source: StreamSource, line: LineSettings, process: DecoderProcess) -> None:
        """process: it follows the stream already."""
        self._source, self._line, self._process = source, line, process
        self._stopped = threading.Event()
        self._over = False
        self._timeline = Timeline()
        self._number = -1
        self._taken_ns = 0
        self._fault: PositionFault | None = None

    def read(self) -> Grab | None:
        if self._stopped.is_set() or self._over:
            return None
        try:
            report, pixels = self._process.report(self._source.read_timeout_s + _SLACK_S)
        except SourceError:
            if self._stopped.is_set():
                return None
            raise
        if report.said != "frame":
            self._over = True
            done_with(self._process)
            raise SourceError(f"{self._source.place} was lost: {report.why}; check its power and its cable")
        lines = len(pixels) if pixels is not None else self._line.frame_lines
        first, fault = self._place(report, lines)
        return Grab(
            image=pixels,
            coil=self._source.coil,
            sequence=report.number,
            first_line=first,
            lines=lines,
            encoder_count=first,
            along_mm=first * self._line.mm_per_line,
            mm_per_line=self._line.mm_per_line,
            captured_ns=report.taken_ns,
            encoded=False,
            fault=None if report.fault is None else Cause(report.fault),
            position_fault=fault,
        )

    def stop(self) -> None:
        self._stopped.set()
        if not self._over:
            self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        if not self._over:
            self._process.close()

    def _place(self, report: StreamReport, lines: int) -> tuple[int, PositionFault | None]:
        """Return the first line of a frame, and why its time is not trusted."""
        longest_s = self._source.longest_gap_s
        dropped, self._number = report.number - self._number - 1, report.number
        silent_s, self._taken_ns = (report.taken_ns - self._taken_ns) / 1e9, report.taken_ns
        time_ns = report.stamp_ns
        if time_ns is None:
            if silent_s > _SILENCE_S:
                time_ns = report.taken_ns
            for _ in range(dropped):
                self._timeline, _, _ = self._timeline.step(self._line.frame_lines, None, self._line, longest_s)
        self._timeline, first, fault = self._timeline.step(lines, time_ns, self._line, longest_s)
        if fault is not self._fault:
            self._fault = fault
            if fault is not None:
                log.warning("timestamp_implausible", fault=str(fault), coil=self._source.coil, sequence=report.number)
        return first, fault
