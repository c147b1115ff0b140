"""The process that opens and decodes a stream: what a peer sends reaches no memory of the service.

It takes orders, one JSON line each, on its standard input and answers there with reports on its standard output: each a
length, a JSON object, and the pixels of a frame. It ends with its input. FFmpeg's messages are never passed on, since
they may contain the address with its password.
"""

import json
import os
import struct
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Final

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer

from linewatch.capture.cameras.luma import bits_of, luma_of
from linewatch.contracts.frame import Cause

LENGTHS: Final = struct.Struct("!II")
"""The bytes of a report's JSON object and of its pixels."""
HELD_FRAMES: Final = 8
"""Decoded frames that wait for the service; when another one comes, the oldest is dropped."""
LONGEST_LAG_S: Final = 1.0
"""A stream that is decoded so late is decoded again from its newest key frame on."""
_DRIFT = 2e-4  # by which the clocks of camera and host may differ
_STRICT = {"mjpeg": {"err_detect": "crccheck+bitstream+buffer+explode"}}


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """What to open. Times are in seconds."""

    url: str
    form: str | None
    options: dict[str, str]
    open_timeout_s: float
    read_timeout_s: float
    stamped: bool  # its frames have the camera's time stamps


@dataclass(frozen=True, slots=True)
class StreamReport:
    """opened: the size of its pictures follows. frame: the next one. failed: it could not be opened. lost: it ended.

    number: of the frame; a jump means that frames were dropped. stamp_ns: the stream's own time of it. taken_ns: when
    it was taken, and when it arrived for a stream without time stamps, by the host's monotonic clock. fault: why it
    has no pixels.
    """

    said: str
    why: str = ""
    width: int = 0
    lines: int = 0
    bits: int = 8
    number: int = 0
    stamp_ns: int | None = None
    taken_ns: int = 0
    fault: str | None = None


class _Reports:
    """Writes reports on a thread of its own; frames beyond `HELD_FRAMES` replace the oldest one that waits."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._waiting: deque[tuple[StreamReport, np.ndarray | None]] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._write, daemon=True).start()

    def put(self, report: StreamReport, pixels: np.ndarray | None = None) -> None:
        with self._changed:
            if report.said == "frame" and len(self._waiting) >= HELD_FRAMES:
                self._waiting.popleft()
            self._waiting.append((report, pixels))
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                report, pixels = self._waiting.popleft()
            text = json.dumps(asdict(report)).encode()
            data = b"" if pixels is None else np.ascontiguousarray(pixels).data
            try:
                self._out.write(LENGTHS.pack(len(text), 0 if pixels is None else pixels.size))
                self._out.write(text)
                self._out.write(data)
                self._out.flush()
            except OSError:
                os._exit(0)  # the service is gone


class _Stamps:
    """Turns the stream's time stamps into the host's monotonic time: a frame cannot arrive before it was taken, so the
    fastest ones tell how the two clocks differ.
    """

    def __init__(self) -> None:
        self._offset_ns: float | None = None
        self._stamp_ns = 0

    def taken_ns(self, stamp_ns: int, now_ns: int) -> int:
        """Return when the frame was taken; `now_ns` less it is how late it is."""
        passed_ns, self._stamp_ns = stamp_ns - self._stamp_ns, stamp_ns
        if self._offset_ns is None or not 0 <= passed_ns < 10e9:
            self._offset_ns = float(now_ns - stamp_ns)
        self._offset_ns = min(self._offset_ns + _DRIFT * passed_ns, float(now_ns - stamp_ns))
        return round(stamp_ns + self._offset_ns)


class _Decoding:
    """Decodes one opened stream until it ends."""

    def __init__(self, container: InputContainer, order: StreamOrder, reports: _Reports) -> None:
        self._container, self._order, self._reports = container, order, reports
        self._stream = container.streams.video[0]
        context = self._stream.codec_context
        context.thread_count = 1  # a message belongs to the packet in hand, and no frame is held back
        context.flags |= Flags.low_delay
        context.options = _STRICT.get(context.name, {})
        self._stamps = _Stamps()
        self._number = 0
        self._seen = False  # a key frame
        self._broken = False  # until the next key frame

    def run(self) -> None:
        """Report every frame. Raises FFmpegError when the stream is lost."""
        tick = float(self._stream.time_base or 0)
        for packet in self._container.demux(self._stream):
            now_ns = time.monotonic_ns()
            if not packet.size:
                continue
            if packet.is_keyframe:
                self._seen, self._broken = True, False
            if not self._seen:
                continue  # it began between two key frames
            stamp_ns = None if not self._order.stamped or packet.pts is None else round(packet.pts * tick * 1e9)
            taken_ns = now_ns if stamp_ns is None else self._stamps.taken_ns(stamp_ns, now_ns)
            if now_ns - taken_ns > LONGEST_LAG_S * 1e9:
                self._seen = False
                self._number += 1
                continue
            self._decode(packet, StreamReport("frame", number=self._number, stamp_ns=stamp_ns, taken_ns=taken_ns))

    def _decode(self, packet: av.Packet, report: StreamReport) -> None:
        with av.logging.Capture() as messages:
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError:
                frames, self._broken = [], True
        self._broken |= bool(messages) or packet.is_corrupt
        if not frames and not self._broken:
            return  # the decoder gives it with the next packet
        self._number += 1
        pixels: np.ndarray | Cause = Cause.CORRUPT
        if frames and not self._broken and not frames[-1].is_corrupt:
            pixels = luma_of(frames[-1])
        if isinstance(pixels, Cause):
            self._reports.put(replace(report, fault=str(pixels)))
        else:
            lines, width = pixels.shape
            self._reports.put(replace(report, lines=lines, width=width), np.array(pixels))


def _follow(order: StreamOrder, reports: _Reports) -> None:
    begun_s = time.monotonic()
    try:
        container = av.open(
            order.url, format=order.form, options=order.options, timeout=(order.open_timeout_s, order.read_timeout_s)
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        silent = time.monotonic() - begun_s >= order.open_timeout_s
        reports.put(StreamReport("failed", _no_answer(order.open_timeout_s) if silent else _reason(error)))
        return
    try:
        with container:
            if not container.streams.video:
                reports.put(StreamReport("failed", "it has no video"))
                return
            context = container.streams.video[0].codec_context
            if context is None:
                reports.put(StreamReport("failed", "its video is in an unknown codec"))
                return
            bits = bits_of(context.format) if context.format else 8
            reports.put(StreamReport("opened", width=context.width, lines=context.height, bits=bits))
            _Decoding(container, order, reports).run()
            reports.put(StreamReport("lost", "it ended"))
    except (av.FFmpegError, OSError, ValueError) as error:
        silent = isinstance(error, av.error.ExitError)
        reports.put(StreamReport("lost", _no_answer(order.read_timeout_s) if silent else _reason(error)))


def _no_answer(timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s"


def _reason(error: Exception) -> str:
    """Say what failed, without the address."""
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return "it refuses the user or the password"
    return getattr(error, "strerror", None) or type(error).__name__


def _order_of(line: str) -> StreamOrder:
    fields: dict[str, Any] = json.loads(line)
    return StreamOrder(**fields)


def main() -> None:
    """Follow one order after the other, until the input ends."""
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    reports = _Reports(os.fdopen(os.dup(1), "wb"))
    orders: deque[str] = deque()
    came = threading.Semaphore(0)

    def listen() -> None:
        for line in sys.stdin:
            orders.append(line)
            came.release()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        came.acquire()
        _follow(_order_of(orders.popleft()), reports)


if __name__ == "__main__":
    main()
