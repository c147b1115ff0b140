"""What a video file holds, packet by packet, compared with what its container says that it holds."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Final

import av
import structlog
from av.container import InputContainer
from av.video.stream import VideoStream

from linewatch.contracts.errors import SourceError

log = structlog.get_logger()

EXPECTED: Final = "a video of 8-bit gray frames, such as FFV1, HFYU, MJPG or H.264 in AVI, MKV, MP4 or MOV"

_FORMATS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpegts,mpeg,flv,asf,ogg,nut,ivf,yuv4mpegpipe,h264,hevc,m4v"
"""Videos only: FFmpeg would also follow playlists to other files, and play text as a terminal's output."""
_STRICT = {"mjpeg": {"err_detect": "crccheck+bitstream+buffer+explode"}}
"""Decoders that must stop at the first error, since they otherwise carry on without a message."""
_ATTEMPTS = 8  # to read on behind an error
_REGULAR_SHARE = 0.9
_JITTER = 0.2  # of the time between two frames
_LARGEST_OVERHEAD = 1024
"""Bytes that a container may put between two packets; behind a longer stretch, packets were lost in the file."""
_STARTS = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"BM": "a BMP picture",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
}

# PyAV gives FFmpeg's messages to an active `Capture`, otherwise to Python's logging, which the service does not use.
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)


@dataclass(slots=True)
class VideoPacket:
    """One packet as the container lists it.

    pts, duration: when and how long it is shown, in the stream's ticks. pos, size: its place in the file, in bytes.
    torn: before it there are bytes in the file that belong to no packet, and it needs what was there. number: of its
    frame, counted from 0 as shown. group: from one key frame to the next. leading: shown before its group's key frame,
    so that it needs the group before as well.
    """

    pts: int | None
    duration: int
    pos: int | None
    size: int
    key: bool
    torn: bool
    number: int = 0
    group: int = 0
    leading: bool = False


@dataclass(slots=True)
class Contents:
    """What a video holds, and what its container says that it should hold.

    packets: in decoding order. by_pts: their places in that list; empty where time stamps are missing or double.
    frames: up to and with the last one in the file. missing: promised behind it. length_known: whether the container
    says how many there should be.
    """

    packets: list[VideoPacket]
    by_pts: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    missing: int = 0
    length_known: bool = True


def opened(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a video and return its first video stream. Raises SourceError."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise SourceError(
            f"cannot read recording {path}: {error.strerror}; expected {EXPECTED}; set [source] path"
        ) from error
    with av.logging.Capture() as messages:
        try:
            container = av.open(
                str(path.absolute()), options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            found = _kind_of(start)
            if any("moov atom" in message for *_, message in messages):
                found = "an MP4 or MOV file without its index: it is cut short, or was never finished"
            raise SourceError(
                f"{path} cannot be opened as a video: found {found}, expected {EXPECTED}; set [source] path"
            ) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path}: found a file without a video stream, expected {EXPECTED}; set [source] path")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None:  # a code of a codec that FFmpeg does not know
        container.close()
        raise SourceError(f"{path}: found a video in an unknown codec, expected {EXPECTED}; set [source] path")
    context.thread_count = 1  # so that messages belong to the packet in hand; slices gained nothing where measured
    if context.name in _STRICT:
        context.options = _STRICT[context.name]
    return container, stream


def packets_of(container: InputContainer, stream: VideoStream | None = None) -> Iterator[tuple[av.Packet, str]]:
    """Yield the packets of one stream, or of all, each with what FFmpeg says while it reads up to it; "" is good.

    The last one may be empty, if it is only said that the file ends early. Reads on behind errors where it can.
    """
    said, attempts = "", 0
    demuxed = container.demux(*(() if stream is None else (stream,)))
    while attempts < _ATTEMPTS:
        with av.logging.Capture() as messages:
            try:
                packet = next(demuxed, None)
            except av.FFmpegError as error:
                packet, said, attempts = None, str(error), attempts + 1
                demuxed = container.demux(*(() if stream is None else (stream,)))
                continue
            finally:
                said += "".join(message for *_, message in messages)
        if packet is None or not packet.size:
            break
        yield packet, said
        said, attempts = "", 0
    if said:
        yield av.Packet(), said


def contents_of(path: Path) -> Contents:
    """Read all packets of a video without decoding them, number them, and log where file and container differ.

    Raises SourceError when it cannot be opened or has no packet.
    """
    container, stream = opened(path)
    with container:
        packets, cut_short, more = _listed(container, stream)
        if not packets:
            raise SourceError(
                f"{path}: found a video that contains no frame, expected {EXPECTED}; it was cut short or never "
                "finished; record it again"
            )
        contents = Contents(packets)
        regular = _number(contents, container, stream, cut_short or more)
        missing = _missing(contents, container, stream, regular)
        contents.length_known, contents.missing = missing is not None, int(more) if missing is None else missing
        if not regular:
            log.warning("video_times_irregular", path=str(path), frames=len(packets))
        if contents.missing:
            found = contents.frames
            log.warning(
                "video_ends_early", path=str(path), frames_expected=found + contents.missing, frames_found=found
            )
        if (lost := contents.frames - len(packets)) > 0:
            log.warning("video_frames_lost", path=str(path), frames=lost)
        if others := [other.type for other in container.streams if other.index != stream.index]:
            log.warning("video_streams_left_out", path=str(path), read=stream.index, left_out=others)
    return contents


def _kind_of(start: bytes) -> str:
    """Name what a file seems to be from its first bytes."""
    if not start:
        return "an empty file"
    for magic, name in _STARTS.items():
        if start.startswith(magic):
            return name
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        return "a text file"
    return "a file of another kind, or a damaged one"


def _listed(container: InputContainer, stream: VideoStream) -> tuple[list[VideoPacket], bool, bool]:
    """Return the packets of the stream, whether the last one is cut short, and whether there was more behind it."""
    packets: list[VideoPacket] = []
    torn = more = cut_short = False
    end: int | None = None
    for packet, said in packets_of(container):
        more |= "ended prematurely" in said or not packet.size
        if not packet.size:
            continue
        cut_short = packet.is_corrupt
        torn |= bool(said) or (packet.pos is not None and end is not None and packet.pos > end + _LARGEST_OVERHEAD)
        end = None if packet.pos is None else packet.pos + packet.size
        if packet.stream_index == stream.index:
            packets.append(
                VideoPacket(packet.pts, packet.duration or 0, packet.pos, packet.size, packet.is_keyframe, torn)
            )
            torn = False
    return packets, cut_short, more


def _number(contents: Contents, container: InputContainer, stream: VideoStream, cut_short: bool) -> bool:
    """Give each packet its group and number: by time stamps where they are regular, which it returns, else by order."""
    packets, group, key_pts = contents.packets, -1, None
    for packet in packets:
        if packet.key or group < 0:
            group, key_pts = group + 1, packet.pts
        packet.group = group
        packet.leading = packet.pts is not None and key_pts is not None and packet.pts < key_pts
    shown = [packet.pts for packet in packets if packet.pts is not None]
    if len(set(shown)) == len(packets):
        contents.by_pts = {pts: place for place, pts in enumerate(shown)}
    listed = _listed_times(packets, stream) if container.format.name == "avi" else None
    times = shown if listed is None else listed
    numbers = _numbers(sorted(times), stream, from_zero=listed is not None) if contents.by_pts else None
    if numbers is not None:
        for packet, time in zip(packets, times, strict=True):
            packet.number = numbers[time]
    else:
        order = {pts: number for number, pts in enumerate(sorted(contents.by_pts))}
        for place, packet in enumerate(packets):
            packet.number = place if packet.pts is None else order.get(packet.pts, place)
    contents.frames = max(packet.number for packet in packets) + 1
    if container.format.name == "avi" and not cut_short:
        _place_lost(contents, stream.frames - contents.frames)
    # Frames that are missing without a trace in the file were dropped before it was written: nothing needs them.
    unlisted = container.format.name == "avi" and listed is None
    ranked = sorted(packet.number for packet in packets)
    jumps = {after for before, after in pairwise(ranked) if after > before + 1}
    for packet in packets:
        packet.torn &= not packet.key and (unlisted or packet.number in jumps)
    return numbers is not None


def _listed_times(packets: list[VideoPacket], stream: VideoStream) -> list[int] | None:
    """Return the time of each packet by the index of an AVI; None where its index does not list them all.

    FFmpeg counts the packets that it finds; only the index knows which are gone. Where bytes are gone, a packet stands
    earlier in the file than the index says, and is recognised by its size.
    """
    entries = stream.index_entries
    by_pos = {entry.pos: place for place, entry in enumerate(entries)}
    times, at, shift = [], 0, 8  # a packet follows the eight bytes to which the index points
    for packet in packets:
        if packet.pos is None:
            return None
        place = by_pos.get(packet.pos - shift)
        if place is None or place < at:
            place = next((one for one in range(at, len(entries)) if entries[one].size == packet.size), None)
            if place is None:
                return None
            shift = packet.pos - entries[place].pos
        times.append(entries[place].timestamp)
        at = place + 1
    return times


def _place_lost(contents: Contents, lost: int) -> None:
    """Put frames that an AVI counts, and that are not in it, where bytes belong to no packet: its index may be gone."""
    torn = [place for place, packet in enumerate(contents.packets) if packet.torn]
    if lost <= 0 or len(torn) not in {1, lost}:
        return
    for place in torn:
        for packet in contents.packets[place:]:
            packet.number += lost // len(torn)
    contents.frames += lost


def _missing(contents: Contents, container: InputContainer, stream: VideoStream, regular: bool) -> int | None:
    """Return how many frames the container says there are behind the last one; None where it does not say."""
    if stream.frames:
        # An AVI also counts frames that were dropped before it was written, an MP4 does not.
        found = contents.frames if container.format.name == "avi" else len(contents.packets)
        return max(0, stream.frames - found)
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if not container.format.name.startswith("matroska") or len(contents.by_pts) < 2 or stream.time_base is None:
        return None
    if tag is not None:
        stop_s = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    elif container.duration and len(container.streams) == 1:
        stop_s = container.duration / av.time_base
    else:
        return None
    times = sorted(contents.by_pts)
    steps = [after - before for before, after in pairwise(times)]
    step, longest = (_step(times, stream),) * 2 if regular else (mean(steps), max(steps))
    stop = times[-1] + max(longest, contents.packets[contents.by_pts[times[-1]]].duration)
    return max(0, int((stop_s / float(stream.time_base) - stop) / step + 0.3))


def _step(times: list[int], stream: VideoStream) -> float:
    """Return the time from one frame to the next in the stream's ticks."""
    found = float(median(after - before for before, after in pairwise(times)))
    if stream.base_rate and stream.time_base:
        declared = float(1 / (stream.base_rate * stream.time_base))
        if abs(declared - found) <= 1:
            return declared  # time stamps in whole milliseconds are rounded
    return found


def _numbers(times: list[int], stream: VideoStream, *, from_zero: bool) -> dict[int, int] | None:
    """Return each frame's number by its time stamp; None where time stamps are too irregular to show lost frames."""
    number = times[0] if from_zero else 0
    numbers, regular = {times[0]: number}, 0
    if len(times) == 1:
        return numbers
    step = _step(times, stream)
    for before, time in pairwise(times):
        steps = max(1, round((time - before) / step))
        regular += abs(time - before - steps * step) <= max(1.0, _JITTER * step)
        number += steps
        numbers[time] = number
    return numbers if regular >= _REGULAR_SHARE * (len(times) - 1) else None
