"""Reads a video frame by frame, and says of each frame whether the file really holds it.

Decoders conceal damage: they fill a damaged area from the frame before, and report success. Here everything that
FFmpeg knows about a packet is asked: its errors, the messages that it logs while it decodes, its flags on packets and
frames, and the container's own account of how many frames there are. See docs/experiments/video-damage.md.
"""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from linewatch.capture.cameras.container import EXPECTED, contents_of, opened, packets_of
from linewatch.capture.cameras.luma import bits_of, luma_of
from linewatch.capture.sidecar import checksum
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause
from linewatch.pictures.lost_block import has_lost_block

_LONGEST_ZEROS = {
    **dict.fromkeys(("h264", "hevc", "vp8", "vp9", "av1"), 32),
    **dict.fromkeys(("mpeg4", "flv1", "png", "utvideo"), 64),
    "ffv1": 256,
    **dict.fromkeys(("huffyuv", "ffvhuff"), 512),
}
_ZEROS = {codec: bytes(run) for codec, run in _LONGEST_ZEROS.items()}
"""A run of zero bytes that a whole packet of the codec does not hold: a lost block of the disk."""


@dataclass(frozen=True, slots=True)
class GrayFrame:
    """One frame of a video's frame sequence, whether or not it could be decoded.

    number: its place, counted from 0; a jump means frames that are not in the file. image: uint8 (lines, width), gray,
    valid as long as it is referenced; None without one. fault: why the image must not be inspected; a CORRUPT frame may
    have an image, which is the decoder's invention at least in part.
    """

    number: int
    image: np.ndarray | None
    fault: Cause | None = None


class Video:
    """The frames of a video's first video stream, in order. Use it from one thread, and close it.

    Opening reads the whole file once without decoding it, to compare what it holds with what its container says. What
    differs is logged. Raises SourceError when it is no video, has no frame, or is deeper than 8 bits.
    """

    def __init__(self, path: Path) -> None:
        self._container, self._stream = opened(path)
        try:
            context = self._stream.codec_context
            self.width, self.lines = context.width, context.height
            self._check_format(path)
            self._contents = contents_of(path)
        except SourceError:
            self._container.close()
            raise
        self.packets = len(self._contents.packets)
        """How many frames the file holds, whole or not."""
        self.expected = self._contents.frames + self._contents.missing
        self.length_known = self._contents.length_known
        """Whether the container says how many frames there should be."""
        self._zeros = _ZEROS.get(context.codec.canonical_name)
        self._uncompressed = context.codec.canonical_name == "rawvideo"
        self._broken: dict[int, int] = {}  # by group, the first packet from which frames are not whole
        self._frames = self._in_order()

    def time_s(self, number: int) -> float | None:
        """Return when a frame is shown, in seconds from the first; None where the file does not tell."""
        rate = self._stream.base_rate or self._stream.average_rate
        return None if not rate else round(number / float(rate), 3)

    def read(self) -> GrayFrame | None:
        """Return the next frame, None behind the last that the file or its container knows of."""
        return next(self._frames, None)

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _check_format(self, path: Path) -> None:
        form = self._stream.codec_context.format
        if form is None or not self.width or not self.lines:
            raise SourceError(
                f"{path}: found {self._stream.codec_context.name} video without a frame that can be decoded, "
                f"expected {EXPECTED}; convert it, or record it again"
            )
        if (bits := bits_of(form)) > 8:
            raise SourceError(
                f"{path}: none of its frames can be inspected, cause {Cause.DEPTH}: found {bits} bits a pixel "
                f"({form.name}), expected 8; convert them with a scale that suits the camera's counts, or have the "
                "camera deliver 8 bits"
            )

    def _in_order(self) -> Generator[GrayFrame]:
        """Yield every frame of the sequence in order, with or without an image."""
        packets = self._contents.packets
        places = sorted(range(len(packets)), key=lambda place: packets[place].number)
        for number in range(packets[places[0]].number):
            yield GrayFrame(number, None, Cause.LOST)
        done = 0
        for place, frame in self._settled():
            number = packets[place].number
            while done < len(places) and packets[places[done]].number < number:
                yield GrayFrame(packets[places[done]].number, None, Cause.CORRUPT)
                done += 1
            if done < len(places) and places[done] == place:
                yield self._judged(place, frame)
                done += 1
        for place in places[done:]:
            yield GrayFrame(packets[place].number, None, Cause.CORRUPT)
        for number in range(self._contents.frames, self.expected):
            yield GrayFrame(number, None, Cause.TRUNCATED)

    def _settled(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield decoded frames with the place of their packet, late enough to know whether they are whole.

        A damaged frame may be shown behind some of those that need it.
        """
        held: deque[tuple[int, av.VideoFrame]] = deque()
        for found in self._decoded():
            held.append(found)
            if len(held) > self._stream.codec_context.reorder_depth:
                yield held.popleft()
        yield from held

    def _decoded(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield what the decoder gives, with the place of its packet, and note which packets are damaged."""
        contents = self._contents
        shown = 0
        for place, packet in enumerate(self._packets()):
            with av.logging.Capture() as messages:
                try:
                    frames = self._stream.decode(packet)
                    failed = False
                except av.FFmpegError:
                    frames, failed = [], packet is not None
            if packet is not None:
                damaged = failed or bool(messages) or packet.is_corrupt or contents.packets[place].torn
                if damaged or self._has_hole(packet):
                    self._break(place)
            for frame in frames:
                source = shown if frame.pts is None else contents.by_pts.get(frame.pts, shown)
                shown += 1
                if source >= len(contents.packets):
                    continue
                if frame.is_corrupt:
                    self._break(source)
                yield source, frame

    def _has_hole(self, packet: av.Packet) -> bool:
        if self._uncompressed:
            return has_lost_block(bytes(packet), packet.size // self.lines or 1, packet.pos or 0)
        return self._zeros is not None and bytes(packet).find(self._zeros) >= 0

    def _packets(self) -> Iterator[av.Packet | None]:
        """Yield the packets as they were listed, then None for what the decoder still holds back."""
        listed = packets_of(self._container, self._stream)
        for (packet, _), _ in zip(listed, self._contents.packets, strict=False):
            if packet.size:
                yield packet
        yield None

    def _break(self, place: int) -> None:
        group = self._contents.packets[place].group
        self._broken[group] = min(place, self._broken.get(group, place))

    def _whole(self, place: int) -> bool:
        packet = self._contents.packets[place]
        if packet.leading and packet.group - 1 in self._broken:
            return False
        return place < self._broken.get(packet.group, place + 1)

    def _judged(self, place: int, frame: av.VideoFrame) -> GrayFrame:
        number, gray = self._contents.packets[place].number, luma_of(frame)
        if not self._whole(place):
            return GrayFrame(number, None if isinstance(gray, Cause) else gray, Cause.CORRUPT)
        return GrayFrame(number, None, gray) if isinstance(gray, Cause) else GrayFrame(number, gray)


def read_back(path: Path) -> tuple[int, int | None]:
    """Return how many frames the file of a recorder holds, and the checksum of the last one, None if it is damaged.

    Reads the whole file and decodes the last frame, which needs no other. Raises SourceError.
    """
    container, stream = opened(path)
    with container:
        pictures, last = 0, None
        for packet, _ in packets_of(container, stream):
            if packet.size:
                pictures, last = pictures + 1, packet
        with av.logging.Capture() as messages:
            try:
                frames = [] if last is None else stream.decode(last) + stream.decode(None)
            except av.FFmpegError:
                frames = []
        gray = luma_of(frames[0]) if len(frames) == 1 and not messages else Cause.CORRUPT
        return pictures, None if isinstance(gray, Cause) else checksum(gray)
