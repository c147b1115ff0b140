"""From settings to a camera, for the sources that are files. The daemon adds the simulator's."""

from linewatch.capture.cameras.folder import FolderCamera
from linewatch.capture.cameras.recording import RecordingCamera
from linewatch.capture.position.timestamps import TimedCamera, times_of
from linewatch.config.line import LineSettings
from linewatch.config.source import FolderSource, RecordingSource
from linewatch.contracts.errors import SourceError
from linewatch.contracts.ports import Camera


def open_camera(source: RecordingSource | FolderSource, line: LineSettings) -> Camera:
    """A camera over the recording or folder. Raises SourceError when it cannot be opened or does not fit `line`."""
    if isinstance(source, RecordingSource):
        recording = RecordingCamera(source.path, line, source.coil)
        if source.times is None:
            return recording
        try:
            return TimedCamera(recording, line, recording.times_ns(), source.longest_gap_s)
        except SourceError:
            recording.stop()
            raise
    folder = FolderCamera(source.path, line, source.coil)
    if source.times is None:
        return folder
    return TimedCamera(folder, line, times_of(folder.images, source.times), source.longest_gap_s)
