"""From settings to a camera, for the sources that are files. The daemon adds the simulator's."""

from linewatch.capture.folder import FolderCamera
from linewatch.capture.recording import RecordingCamera
from linewatch.config.line import LineSettings
from linewatch.config.source import FolderSource, RecordingSource
from linewatch.contracts.ports import Camera


def open_camera(source: RecordingSource | FolderSource, line: LineSettings) -> Camera:
    """A camera over the recording or folder. Raises SourceError when it cannot be opened or does not fit `line`."""
    if isinstance(source, RecordingSource):
        return RecordingCamera(source.path, line, source.coil)
    return FolderCamera(source.path, line, source.coil)
