"""From a configured source to a camera: the one place that knows cameras and the simulator."""

from pathlib import Path

from linewatch.capture.cameras.recording import recorded_line
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.position.encoder_triggered import EncodedCamera
from linewatch.capture.position.free_running import FreeRunningCamera
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.line import LineSettings
from linewatch.config.service import ServiceSettings
from linewatch.config.source import FolderSource, RecordingSource, SimulatorSource, SourceSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.ports import Camera, Clock
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.counter_faults import FaultyCounter
from linewatch.simulation.course import Course
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.free_running import FreeRunningSimulator
from linewatch.simulation.strip import Strip
from linewatch.wire.schema import PositionSource

SIMULATOR = "simulator"
"""As a replay's source: the configuration's simulated strip."""


def camera_for(source: SourceSettings, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
    """A camera over the source, not yet entered. Raises SourceError when it cannot be opened or does not fit `line`."""
    if not isinstance(source, SimulatorSource):
        return open_camera(source, line)
    strip = simulated_strip(source, line)
    course = Course.of(source.turns, strip.total_lines, line.mm_per_line)
    profile = SpeedProfile.typical(course.rows * line.mm_per_line, speed_mm_per_s(line))
    if line.encoder is None:
        if source.turns or source.welds_m or source.counter_faults:
            raise ConfigError(
                "[source] turns, welds_m and counter_faults are told by an encoder; give the configuration "
                "[line.encoder]"
            )
        return SimulatorCamera(strip, profile, clock, source.coil, live)
    welds = [round(weld * 1000 / line.mm_per_line) for weld in source.welds_m]
    simulator = SimulatorCamera if line.encoder.triggers else FreeRunningSimulator
    camera = FaultyCounter(
        simulator(strip, profile, clock, source.coil, live, course, welds), line.encoder, source.counter_faults
    )
    return EncodedCamera(camera, line) if line.encoder.triggers else FreeRunningCamera(camera, line)


def position_source(settings: ServiceSettings) -> PositionSource:
    """What the places of `settings.source` on the strip come from."""
    source = settings.source
    if isinstance(source, RecordingSource | FolderSource) and source.times is not None:
        return PositionSource.TIMESTAMPS
    if isinstance(source, RecordingSource) and sidecar_path(source.path).exists():
        return PositionSource.SIDECAR
    if isinstance(source, SimulatorSource):
        return PositionSource.ENCODER
    return PositionSource.LINE_RATE


def simulated_strip(source: SimulatorSource, line: LineSettings) -> Strip:
    """The strip that a simulator source means."""
    return Strip(source.seed, source.length_m, source.defects_per_m, line, roll_marks=source.roll_mark)


def speed_mm_per_s(line: LineSettings) -> float:
    """The strip's speed at the configured line rate."""
    return line.line_rate_hz * line.mm_per_line


def with_source(settings: ServiceSettings, name: str, *, own_line: bool) -> ServiceSettings:
    """Settings that read the recording, folder or "simulator" that a user named; how times are told is as configured.

    own_line: take the line's geometry from the recording's sidecar where it has one.
    """
    if name == SIMULATOR:
        if not isinstance(settings.source, SimulatorSource):
            raise ConfigError('the configuration has no simulator; give one with [source] type = "simulator"')
        return settings
    path, configured = Path(name), settings.source
    if path.is_dir():
        folder = FolderSource(type="folder", path=path)
        if isinstance(configured, FolderSource):
            folder = configured.model_copy(update={"path": path, "coil": None})
        return settings.model_copy(update={"source": folder})
    if not path.is_file():
        raise SourceError(f"{path}: no such file or folder; give a video, a folder of frames, or '{SIMULATOR}'")
    recorded = recorded_line(path) if own_line else None
    recording = RecordingSource(type="recording", path=path)
    if isinstance(configured, RecordingSource):
        recording = configured.model_copy(update={"path": path, "coil": None})
    return settings.model_copy(update={"source": recording, "line": recorded or settings.line})
