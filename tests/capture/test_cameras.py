"""The promises that every registered camera kind keeps. A new kind adds one factory to `EXAMPLES`, nothing else."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from gentl_producer import viky
from gige_camera import fake_gige_camera, why_missing
from numbered_strip import ListCamera
from stream_servers import mjpeg_server, serving

from linewatch.capture.admission import Admission
from linewatch.capture.cameras.registry import KINDS, open_camera, open_for_service
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.recorder import Recorder
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.camera import CameraState
from linewatch.contracts.errors import ConfigError, LinewatchError, SourceError
from linewatch.contracts.frame import Cause, Frame, Grab, PositionSource
from linewatch.contracts.ports import Camera
from linewatch.service_settings import ServiceSettings, settings_from

LINE: dict[str, Any] = {"width_px": 320, "frame_lines": 64, "mm_per_line": 0.5, "line_rate_hz": 20_000.0}
ENCODER = {"counts_per_mm": 8.0, "counts_per_line": 4.0}
RNG = np.random.default_rng(3)


@dataclass(frozen=True)
class Example:
    """A source of at least five grabs as `LINE` says.

    made: yields its keys, with whatever it needs in a folder or in another process. refused: keys that it refuses.
    absent: of a device, keys of one that is not there. line: what its pictures need otherwise. lacks: why this host
    cannot try it.
    """

    made: Callable[[Path], AbstractContextManager[dict[str, Any]]]
    refused: dict[str, Any]
    absent: dict[str, Any] | None = None
    line: Mapping[str, Any] = field(default_factory=dict)
    lacks: str | None = None


@contextmanager
def _folder(tmp_path: Path) -> Iterator[dict[str, Any]]:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), RNG.integers(20, 200, (64, 320), dtype=np.uint8))
    yield {"path": str(tmp_path)}


@contextmanager
def _recording(tmp_path: Path) -> Iterator[dict[str, Any]]:
    line = LineSettings(**LINE)
    with _folder(tmp_path) as keys:
        folder = settings_from({"line": LINE, "source": {"type": "folder", **keys}}, "c.toml")
        with Recorder(tmp_path / "a.avi", line, 100, "S-17") as recorder, opened(folder) as camera:
            for grab in iter(camera.read, None):
                recorder.write(grab)
    yield {"path": str(tmp_path / "a.avi")}


@contextmanager
def _simulator(_: Path) -> Iterator[dict[str, Any]]:
    yield {"length_m": 0.5}


@contextmanager
def _stream(_: Path) -> Iterator[dict[str, Any]]:
    with serving(mjpeg_server()) as camera:
        yield {"url": f"http://127.0.0.1:{camera.port}/"}


@contextmanager
def _gentl(_: Path) -> Iterator[dict[str, Any]]:
    """The simulated cameras of the producer that comes with the official Python binding."""
    yield {"producer": str(viky()), "camera": "1"}


@contextmanager
def _genicam(_: Path) -> Iterator[dict[str, Any]]:
    with fake_gige_camera() as camera:
        camera.start()
        yield {"camera": camera.address, "packet_size": 9000}


EXAMPLES: Mapping[str, Example] = {
    "folder": Example(_folder, refused={"path": "/nowhere/at/all"}),
    "genicam": Example(_genicam, refused={"packet_size": 3}, absent={"camera": "127.0.0.9"}, lacks=why_missing()),
    "recording": Example(_recording, refused={"path": "/nowhere/at/all.avi"}),
    "gentl": Example(
        _gentl,
        refused={"buffers": 1},
        absent={"producer": "/nowhere/at/all.cti"},
        line={"frame_lines": 100},
        lacks=None if find_spec("genicam") else "harvesters and genicam are not installed (linewatch[gentl])",
    ),
    "simulator": Example(_simulator, refused={"length_m": -1.0}),
    "stream": Example(_stream, refused={"open_timeout_s": -1.0}, absent={"url": "http://127.0.0.1:1/"}),
}
KIND_NAMES = [get_args(kind.model_fields["type"].annotation)[0] for kind in KINDS]


def opened(settings: ServiceSettings, *, live: bool = False) -> Camera:
    assert settings.source is not None
    return open_camera(settings.source, settings.line, MonotonicClock(), live=live)


def read_some(camera: Camera) -> list[Grab]:
    """Return the grabs up to the end, of a device five, each with a copy of its image, which is the camera's own."""
    most = 5 if camera.live else None
    return [
        replace(g, image=None if g.image is None else g.image.copy()) for g in islice(iter(camera.read, None), most)
    ]


@pytest.fixture(params=KIND_NAMES)
def kind(request: pytest.FixtureRequest) -> str:
    assert request.param in EXAMPLES, f"camera kind {request.param} has no example; add one to EXAMPLES"
    return request.param


def skip_where_it_lacks(kind: str) -> None:
    if (why := EXAMPLES[kind].lacks) is not None:
        pytest.skip(why)


@pytest.fixture
def configured(kind: str, tmp_path: Path) -> Iterator[Callable[..., ServiceSettings]]:
    skip_where_it_lacks(kind)
    example = EXAMPLES[kind]
    with example.made(tmp_path) as keys:
        source = {"type": kind, **keys}
        yield lambda **line: settings_from({"line": {**LINE, **example.line, **line}, "source": source}, "c.toml")


@pytest.mark.parametrize("encoder", [None, ENCODER, {**ENCODER, "triggers": False}])
def test_it_gives_grabs_in_order_until_its_end(configured, encoder: dict | None) -> None:  # type: ignore[no-untyped-def]
    settings = configured(encoder=encoder)
    assert settings.source is not None
    device = settings.source.is_device
    if encoder is not None and device and not settings.source.has_encoder_count:
        with pytest.raises(ConfigError, match=r"no encoder count, \[line.encoder\] expects one"):
            opened(settings)
        return
    with opened(settings) as camera:
        assert camera.live == device
        assert isinstance(camera.serial, str)
        grabs = read_some(camera)
        if not device:
            assert camera.read() is None
        assert camera.grabs is None or camera.grabs >= len(grabs)
    assert len(grabs) > 1
    ring = FrameRing(64, settings.line.frame_lines, settings.line.width_px)
    admission = Admission(settings.line, CaptureSettings(), ring)
    frames: list[Frame] = []
    for before, grab in zip([None, *grabs], grabs, strict=False):
        if before is not None:
            assert grab.sequence > before.sequence
            assert grab.first_line == before.first_line + before.lines or device
            assert grab.captured_ns >= before.captured_ns
        assert 0 < grab.lines <= settings.line.frame_lines
        assert grab.along_mm == pytest.approx(grab.first_line * grab.mm_per_line)
        assert grab.encoded == (settings.source.position_source is PositionSource.ENCODER)
        frames += admission.admit(grab)
    assert {frame.fault for frame in frames} <= {None, Cause.LOST if device else None}
    assert sum(frame.valid_lines for frame in frames) == sum(grab.lines for grab in grabs)
    assert sum(frame.lines for frame in frames) == grabs[-1].first_line + grabs[-1].lines


def test_a_read_that_waits_ends_soon_after_stop(configured) -> None:  # type: ignore[no-untyped-def]
    settings = configured(line_rate_hz=0.1)  # the next grab of a live camera would come in minutes
    with opened(settings, live=True) as camera:
        reader = threading.Thread(target=lambda: list(iter(camera.read, None)))
        reader.start()
        camera.stop()
        reader.join(10)
        assert not reader.is_alive()
        assert camera.read() is None


def test_it_may_be_closed_twice_and_opened_again(configured) -> None:  # type: ignore[no-untyped-def]
    first: list[Grab | None] = []
    for _ in range(2):
        with opened(configured()) as camera:
            first.append(camera.read())
        camera.__exit__(None, None, None)
        assert camera.read() is None
    one, other = first
    assert one is not None
    assert other is not None
    if not camera.live:
        assert replace(one, image=None, captured_ns=0) == replace(other, image=None, captured_ns=0)
        assert np.array_equal(one.image, other.image)  # type: ignore[arg-type]


def test_bad_settings_are_refused_with_what_was_found_and_expected(kind: str) -> None:
    bad = EXAMPLES[kind].refused
    with pytest.raises(LinewatchError, match=r"expected|give|set") as refused:
        opened(settings_from({"line": LINE, "source": {"type": kind, **bad}}, "c.toml"))
    assert all(str(value) in str(refused.value) for value in bad.values())


def test_an_unknown_key_is_refused_with_the_known_ones(kind: str, tmp_path: Path) -> None:
    skip_where_it_lacks(kind)
    with EXAMPLES[kind].made(tmp_path) as keys:
        source = {"type": kind, **keys, "zzz": 1}
    (model,) = [one for one in KINDS if kind in get_args(one.model_fields["type"].annotation)]
    with pytest.raises(ConfigError) as refused:
        settings_from({"line": LINE, "source": source}, "c.toml")
    known = ", ".join(sorted(model.model_fields))
    assert str(refused.value) == f"c.toml: [source] zzz: unknown key; known keys: {known}"


DEVICES = [name for name, kind in zip(KIND_NAMES, KINDS, strict=True) if kind.is_device]


@pytest.mark.parametrize("kind", DEVICES)
def test_a_device_that_is_not_there_is_waited_for(kind: str) -> None:
    skip_where_it_lacks(kind)
    absent = EXAMPLES[kind].absent
    assert absent is not None, f"camera kind {kind} is a device; its example needs keys of one that is not there"
    settings = settings_from({"line": LINE, "source": {"type": kind, **absent}}, "c.toml")
    assert settings.source is not None
    with open_for_service(settings.source, settings.line, MonotonicClock(), 300.0) as camera:
        assert isinstance(camera, LastingCamera)
        assert not camera.wait(0.1)
        assert camera.life.state is CameraState.ABSENT
        assert "expected" in camera.trouble


@pytest.mark.parametrize("source", [{"type": "usb"}, {"path": "x"}])
def test_an_unknown_or_missing_type_is_refused_with_the_known_ones(source: dict) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from({"source": source}, "c.toml")
    assert all(repr(name) in str(refused.value) for name in KIND_NAMES)


def _grab(*, encoded: bool) -> Grab:
    image = np.full((64, 320), 90, np.uint8)
    return Grab(image, "A", 0, 0, 64, 0, 0.0, 0.5, 0, encoded=encoded, encoder_stop=256, fault=Cause.CORRUPT)


@pytest.mark.parametrize("triggers", [True, False])
def test_an_encoder_places_the_grabs_of_every_live_camera_that_counts(triggers: bool) -> None:
    from linewatch.capture.position.encoder import placed_by_encoder

    line = LineSettings(**LINE, encoder=EncoderSettings(**ENCODER, triggers=triggers))
    counting = placed_by_encoder(ListCamera([_grab(encoded=True)], live=True), line, "acme", counted=True)
    (grab,) = read_some(counting)
    assert (grab.lines, grab.mm_per_line, grab.encoder_stop) == (64, 0.5, None)
    silent = placed_by_encoder(ListCamera([_grab(encoded=False)], live=True), line, "acme", counted=True)
    with pytest.raises(SourceError, match=r"grab 0 .* no encoder count, \[line.encoder\] expects one .*; switch"):
        silent.read()
    with pytest.raises(ConfigError, match=r"'acme' is a live camera .* no encoder count, \[line.encoder\] expects"):
        placed_by_encoder(ListCamera([], live=True), line, "acme", counted=False)
