"""Videos from elsewhere: what their container promises, damage that decoders conceal, depth, colour, time stamps."""

import os
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from linewatch.capture.cameras.container import EXPECTED
from linewatch.capture.cameras.luma import CHROMA_TOLERANCE
from linewatch.capture.cameras.recording import RecordingCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.service_settings import ServiceSettings, with_source

LINE = LineSettings(width_px=320, frame_lines=64, mm_per_line=0.5, line_rate_hz=6400)
COUNT = 40


def steel(count: int = COUNT) -> np.ndarray:
    """Return textured gray pictures, uint8 (count, 64, 320), no two alike."""
    rng = np.random.default_rng(3)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (count * 64 + 64, 320)).astype(np.float32), (5, 5), 1)
    strip = np.clip(texture + 120 + 40 * np.sin(np.arange(320) / 30), 0, 255).astype(np.uint8)
    return np.stack([strip[number * 64 : number * 64 + 64] for number in range(count)])


PICTURES = steel()


def write(
    path: Path,
    encoder: str,
    pix_fmt: str = "yuv420p",
    pictures: np.ndarray = PICTURES,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    muxer: dict[str, str] | None = None,
    sound_s: float = 0.0,
) -> None:
    """Write pictures of any depth at 25 Hz, or at `times` in milliseconds."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(encoder, rate=25, options={"g": "10", **(options or {})})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], pix_fmt
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound_s else None
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            form = "rgb24" if picture.ndim == 3 else "gray16le" if picture.dtype == np.uint16 else "gray"
            frame = av.VideoFrame.from_ndarray(picture, format=form)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            samples = np.zeros((1, int(8000 * sound_s)), np.int16)
            noise = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            noise.sample_rate = 8000
            container.mux(sound.encode(noise))
            container.mux(sound.encode(None))


def write_cv2(path: Path, fourcc: str, pictures: np.ndarray = PICTURES) -> None:
    """Write as most do: OpenCV's default writer, gray pictures as three equal channels."""
    lines, width = pictures.shape[1:]
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), 25, (width, lines))
    assert video.isOpened()
    for picture in pictures:
        video.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    video.release()


def grabs_of(path: Path) -> list[Grab]:
    with RecordingCamera(path, LINE) as camera:
        return list(iter(camera.read, None))


def places_of(grabs: Sequence[Grab]) -> list[int]:
    return [grab.first_line // 64 for grab in grabs]


def faults_of(grabs: Sequence[Grab]) -> list[Cause | None]:
    return [grab.fault for grab in grabs]


CODECS = [
    ("ffv1", "gray", "mkv", {"level": "3", "slicecrc": "1"}),
    ("ffv1", "gray", "avi", {"level": "3", "slicecrc": "1"}),
    ("mjpeg", "yuvj420p", "avi", {}),
    ("mpeg4", "yuv420p", "mp4", {}),
    ("libx264", "yuv420p", "mp4", {}),
    ("libx264", "yuv420p", "mkv", {}),
    ("libx265", "yuv420p", "mkv", {"x265-params": "log-level=none"}),
    ("libvpx", "yuv420p", "webm", {"b": "4M"}),
    ("utvideo", "yuv420p", "avi", {}),
    ("flv", "yuv420p", "flv", {"b": "4M"}),
    ("png", "gray", "mov", {}),
]


@pytest.mark.parametrize(("encoder", "pix_fmt", "suffix", "options"), CODECS)
@pytest.mark.parametrize("block", [2, 5, 8])
def test_zeroed_block_is_never_inspected_as_steel(
    tmp_path: Path, encoder: str, pix_fmt: str, suffix: str, options: dict[str, str], block: int
) -> None:
    """What is inspected is to the bit what the whole file shows; whole files give no alarm."""
    path = tmp_path / f"a.{suffix}"
    write(path, encoder, pix_fmt, options=options | ({"crf": "18"} if "lib" in encoder else {}))
    whole = grabs_of(path)
    assert faults_of(whole) == [None] * COUNT
    pictures = {place: grab.image.copy() for place, grab in zip(places_of(whole), whole, strict=True)}  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    at = len(data) * block // 10
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    with capture_logs() as logs:
        found = grabs_of(path)
    inspected = {place: grab.image for place, grab in zip(places_of(found), found, strict=True) if not grab.fault}
    assert len(inspected) < COUNT
    assert all(np.array_equal(pictures[place], image) for place, image in inspected.items())  # type: ignore[arg-type]
    corrupt = [log for log in logs if log["event"] == "video_frame_not_inspected"]
    lost = [log for log in logs if log["event"] in {"video_frames_lost", "video_ends_early"}]
    assert corrupt or lost
    assert all(log["time_s"] == pytest.approx(log["frame"] / 25) for log in corrupt)


def test_a_lost_block_of_an_uncompressed_video_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    dark = PICTURES.copy()
    dark[:, 20:40, 100:] = 0  # strip that is black in places is whole
    write(path, "rawvideo", "gray", dark)
    assert faults_of(grabs_of(path)) == [None] * COUNT
    data = bytearray(path.read_bytes())
    at = len(data) // 2 // 4096 * 4096
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    faults = faults_of(grabs_of(path))
    assert faults.count(Cause.CORRUPT) == 1
    assert set(faults) == {None, Cause.CORRUPT}


def test_a_damaged_frame_spoils_those_that_need_it_until_the_next_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "gray", options={"level": "3", "slicecrc": "1"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at = places[14][0] + places[14][1] // 2
    data[at] ^= 0x55
    path.write_bytes(data)
    assert [grab.sequence for grab in grabs_of(path) if grab.fault is Cause.CORRUPT] == [14, 15, 16, 17, 18, 19]


@pytest.mark.parametrize(
    ("name", "encoder", "pix_fmt", "muxer"),
    [
        ("a.mkv", "ffv1", "gray", {}),
        ("a.mkv", "libx264", "yuv420p", {}),
        ("a.avi", "mjpeg", "yuvj420p", {}),
        ("a.mov", "mjpeg", "yuvj420p", {"movflags": "faststart"}),
        ("a.mp4", "libx264", "yuv420p", {"movflags": "faststart"}),
    ],
)
def test_what_a_container_promises_and_lacks_is_missed(
    tmp_path: Path, name: str, encoder: str, pix_fmt: str, muxer: dict[str, str]
) -> None:
    path = tmp_path / name
    write(path, encoder, pix_fmt, muxer=muxer)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with capture_logs() as logs:
        found = grabs_of(path)
    assert places_of(found) == list(range(COUNT))
    assert faults_of(found)[:15] == [None] * 15
    assert faults_of(found)[-12:] == [Cause.TRUNCATED] * 12
    (told,) = [log for log in logs if log["event"] == "video_ends_early"]
    assert told["frames_expected"] == COUNT
    assert 20 <= told["frames_found"] <= 28


def test_video_without_its_index_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, "libx264")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(
        SourceError, match="without its index: it is cut short, or was never finished, expected a video"
    ):
        grabs_of(path)


def test_container_that_promises_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    write(path, "libx264")
    with capture_logs() as logs:
        found = grabs_of(path)
    assert faults_of(found) == [None] * COUNT
    assert "video_length_unknown" in {log["event"] for log in logs}


@pytest.mark.parametrize("encoder", ["ffv1", "libx264"])
def test_frames_that_a_recording_dropped_are_lost_strip(tmp_path: Path, encoder: str) -> None:
    """Three frames are missing behind the 10th and one behind the 20th; what was written is whole."""
    path = tmp_path / "a.mkv"
    times = [40 * (number + 3 * (number >= 10) + (number >= 20)) for number in range(COUNT)]
    write(path, encoder, "gray" if encoder == "ffv1" else "yuv420p", times=times)
    with capture_logs() as logs:
        found = grabs_of(path)
    assert places_of(found) == [time // 40 for time in times]
    assert faults_of(found) == [None] * COUNT
    assert [log["frames"] for log in logs if log["event"] == "video_frames_lost"] == [4]


@pytest.mark.parametrize("encoder", ["mjpeg", "ffv1"])
def test_bytes_that_are_gone_from_an_avi_are_lost_in_their_place(tmp_path: Path, encoder: str) -> None:
    """Its index no longer fits, so that every frame behind them would move up by one."""
    path = tmp_path / "a.avi"
    write(path, encoder, "gray" if encoder == "ffv1" else "yuvj420p")
    whole = [grab.image.copy() for grab in grabs_of(path)]  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    del data[at : at + 2000]
    path.write_bytes(data)
    found = grabs_of(path)
    assert places_of(found)[-1] == COUNT - 1
    fit = {place: grab.image for place, grab in zip(places_of(found), found, strict=True) if grab.fault is None}
    assert len(fit) >= COUNT - 12
    assert all(np.array_equal(whole[place], image) for place, image in fit.items())  # type: ignore[arg-type]


def test_millisecond_times_of_an_odd_rate_show_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "gray", times=[round(number * 1000 / 160) for number in range(COUNT)])
    assert places_of(grabs_of(path)) == list(range(COUNT))


def test_irregular_times_are_told_and_frames_lie_behind_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    steps = np.random.default_rng(1).integers(5, 200, COUNT)
    write(path, "ffv1", "gray", times=[int(time) for time in steps.cumsum()])
    with capture_logs() as logs:
        found = grabs_of(path)
    assert places_of(found) == list(range(COUNT))
    assert faults_of(found) == [None] * COUNT
    assert "video_times_irregular" in {log["event"] for log in logs}


def test_sound_beside_the_pictures_is_told_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "gray", sound_s=3.0)
    with capture_logs() as logs:
        found = grabs_of(path)
    assert faults_of(found) == [None] * COUNT, "the sound is longer than the pictures, which is no missing strip"
    (told,) = [log for log in logs if log["event"] == "video_streams_left_out"]
    assert told["left_out"] == ["audio"]


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "suffix", "bits"),
    [
        ("ffv1", "gray16le", "mkv", 16),
        ("ffv1", "gray12le", "mkv", 12),
        ("ffv1", "gray10le", "avi", 10),
        ("libx265", "yuv420p10le", "mp4", 10),
    ],
)
def test_deeper_than_8_bits_is_refused_not_cut_down(
    tmp_path: Path, encoder: str, pix_fmt: str, suffix: str, bits: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    write(path, encoder, pix_fmt, PICTURES.astype(np.uint16) * 16, options)
    with pytest.raises(SourceError, match=f"cause depth: found {bits} bits a pixel .*expected 8; convert"):
        grabs_of(path)


@pytest.mark.parametrize(
    ("fourcc", "suffix", "mean"),
    [("MJPG", "avi", 0.1), ("MJPG", "mkv", 0.1), ("mp4v", "mp4", 1.0), ("XVID", "avi", 1.0), ("HFYU", "avi", 0.0)],
)
def test_colour_video_of_gray_steel_gives_back_the_gray(tmp_path: Path, fourcc: str, suffix: str, mean: float) -> None:
    """By OpenCV's default writers; the mean shows the range of luma, which these codecs use differently."""
    path = tmp_path / f"a.{suffix}"
    write_cv2(path, fourcc)
    found = grabs_of(path)
    assert faults_of(found) == [None] * COUNT
    error = np.stack([grab.image for grab in found]).astype(float) - PICTURES  # type: ignore[misc]
    assert abs(error.mean()) <= mean
    assert np.abs(error).mean() <= 8


@pytest.mark.parametrize(
    ("pix_fmt", "encoder"), [("yuv420p", "libx264"), ("yuvj420p", "libx264"), ("nv12", "rawvideo")]
)
def test_luma_of_either_range_gives_back_the_gray(tmp_path: Path, pix_fmt: str, encoder: str) -> None:
    path = tmp_path / "a.mkv"
    write(path, encoder, pix_fmt, options={} if encoder == "rawvideo" else {"crf": "5"})
    error = np.stack([grab.image for grab in grabs_of(path)]).astype(float) - PICTURES  # type: ignore[misc]
    assert abs(error.mean()) < 0.3
    assert np.abs(error).max() <= 16


def tinted(by: int) -> np.ndarray:
    """Return the pictures, some with a patch that has another colour: red is higher by so many levels."""
    pictures = np.repeat(PICTURES[:6, :, :, None], 3, -1).clip(20, 200)
    pictures[1::2, 20:40, 100:140, 0] += np.uint8(by)
    return pictures


def test_a_patch_of_colour_is_refused_as_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "bgr0", tinted(CHROMA_TOLERANCE))
    assert faults_of(grabs_of(path)) == [None] * 6
    write(path, "ffv1", "bgr0", tinted(CHROMA_TOLERANCE + 1))
    assert faults_of(grabs_of(path)) == [None, Cause.COLOUR] * 3
    write(path, "mjpeg", "yuvj444p", tinted(40), {"q": "2"})
    assert faults_of(grabs_of(path)) == [None, Cause.COLOUR] * 3


def test_a_video_of_which_nothing_can_be_inspected_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, "mjpeg", "yuvj444p", tinted(40)[1::2], {"q": "2"})
    with pytest.raises(
        SourceError, match=f"none of 3 frames can be inspected: found 3 colour; expected {EXPECTED}; conv"
    ):
        grabs_of(path)


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("Coil 4711, rolled on Monday\n" * 50)


def playlist(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile /etc/passwd\n")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("frame.png", b"1")


def picture(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", PICTURES[0])[1].tobytes())


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (empty, "an empty file"),
        (text, "a text file"),
        (playlist, "a text file"),
        (archive, "a ZIP archive"),
        (picture, "a PNG picture"),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, make: Callable[[Path], None], found: str) -> None:
    path = tmp_path / "a.mkv"
    make(path)
    with pytest.raises(SourceError, match=f"found {found}, expected {EXPECTED}; set"):
        grabs_of(path)


def test_a_codec_that_nobody_knows_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write(path, "ffv1", "gray")
    data = path.read_bytes()
    assert data.count(b"FFV1") >= 2, "in the header of the stream, and in its format"
    path.write_bytes(data.replace(b"FFV1", b"QQQQ"))
    with pytest.raises(SourceError, match="found a video in an unknown codec") as refused:
        grabs_of(path)
    assert "\n" not in str(refused.value)


def test_sources_that_are_no_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, found in [
        ("rtsp://camera/stream", "found an address, expected a file"),
        (str(tmp_path / "pipe"), "found a pipe, socket or device, expected a file"),
        (str(tmp_path / "absent.avi"), "no such file or folder"),
    ]:
        with pytest.raises(SourceError, match=found):
            with_source(ServiceSettings(), name, own_line=True)
