"""The source that a user names on the command line, in place of the configured one."""

from pathlib import Path

from linewatch.capture.cameras.folder import FolderSource
from linewatch.capture.cameras.recording import RecordingSource, recorded_line
from linewatch.capture.cameras.simulator import SimulatorSource
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.service_settings import ServiceSettings

SIMULATOR = "simulator"
"""As a replay's source: the configuration's simulated strip."""


def with_source(settings: ServiceSettings, name: str, *, own_line: bool) -> ServiceSettings:
    """Return settings that read the recording, folder or "simulator" that a user named; `times` stays as configured.

    own_line: take the line's geometry from the recording's sidecar where it has one. Raises ConfigError, SourceError.
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
