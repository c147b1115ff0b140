"""A folder of images as a camera."""

import re
import threading
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import numpy as np
import structlog
from pydantic import Field

from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.capture.position.timestamps import LongestGap, TimestampedCamera, times_of
from linewatch.config.line import LineSettings
from linewatch.contracts.coil import coil_name
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab, PositionSource
from linewatch.contracts.ports import Camera, Clock

log = structlog.get_logger()

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class FolderSource(SourceSettings):
    """A folder of PNG/JPEG frames in natural order."""

    type: Literal["folder"]
    path: Annotated[Path, Field(strict=False)]
    coil: CoilName | None = Field(default=None, description="default: the folder's name")
    times: Literal["name", "mtime"] | None = Field(
        default=None,
        description="place images by the times in their names or of their files, and line_rate_hz; left out: "
        "one lies directly behind the other",
    )
    longest_gap_s: LongestGap = 1.0

    @property
    def position_source(self) -> PositionSource:
        return PositionSource.LINE_RATE if self.times is None else PositionSource.TIMESTAMPS

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        folder = FolderCamera(self.path, line, self.coil)
        if self.times is None:
            return folder
        return TimestampedCamera(folder, line, times_of(folder.images, self.times), self.longest_gap_s)


class FolderCamera:
    """Gives the images of a folder in natural order (`2.png` before `10.png`), end to end, as one coil.

    Positions follow from the image heights and `mm_per_line`, times from `line_rate_hz`, so grabs are not `encoded`. An
    image that cannot be decoded, or is cut short, is a grab with fault CORRUPT over the lines of a full frame. Files
    that are not images are skipped and logged once. Raises SourceError when there is no image at all.
    """

    live = False

    def __init__(self, path: Path, line: LineSettings, coil: str | None = None) -> None:
        try:
            files = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        except OSError as error:
            raise SourceError(
                f"cannot read folder {path}: {error.strerror}; expected a folder of images {line.width_px} px wide; "
                "set [source] path"
            ) from error
        self._images = sorted(
            (entry for entry in files if entry.suffix.lower() in IMAGE_SUFFIXES), key=lambda entry: _natural(entry.name)
        )
        strays = sorted(entry.name for entry in files if entry.suffix.lower() not in IMAGE_SUFFIXES)
        if not self._images:
            raise SourceError(
                f"folder {path} contains no image ({len(files)} other files); expected {', '.join(IMAGE_SUFFIXES)} "
                "files; set [source] path"
            )
        if strays:
            log.warning("non_image_files_skipped", folder=str(path), files=len(strays), first=strays[0])
        self.grabs: int | None = len(self._images)
        self._line = line
        self._coil = coil or coil_name(path.resolve().name)
        self._next = 0
        self._first_line = 0
        self._stopped = threading.Event()

    @property
    def images(self) -> tuple[Path, ...]:
        """The image files, one per grab, in order."""
        return tuple(self._images)

    def read(self) -> Grab | None:
        if self._stopped.is_set() or self._next >= len(self._images):
            return None
        image = _decoded(self._images[self._next])
        lines = self._line.frame_lines if image is None else len(image)
        first_line, sequence = self._first_line, self._next
        self._first_line += lines
        self._next += 1
        return derived_grab(image, self._line, coil=self._coil, sequence=sequence, first_line=first_line, lines=lines)

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def derived_grab(
    image: np.ndarray | None, line: LineSettings, *, coil: str, sequence: int, first_line: int, lines: int
) -> Grab:
    """Return a grab of a source without encoder and clock: both follow from the line settings.

    Without an image its fault is CORRUPT.
    """
    return Grab(
        image=image,
        coil=coil,
        sequence=sequence,
        first_line=first_line,
        lines=lines,
        encoder_count=first_line,
        along_mm=first_line * line.mm_per_line,
        mm_per_line=line.mm_per_line,
        captured_ns=round((first_line + lines) / line.line_rate_hz * 1e9),
        encoded=False,
        fault=Cause.CORRUPT if image is None else None,
    )


def _natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return a sort key: numbers by value, letters without case. The name itself orders `1.png` and `01.png`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts), name


def _decoded(path: Path) -> np.ndarray | None:
    """Return the image as it is stored, of any depth and channels; None when it cannot be decoded or is cut short.

    OpenCV reports no error for a JPEG or PNG that is cut short: it fills the rest with gray.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    tail = data[-64:]
    if data.startswith(b"\xff\xd8") and b"\xff\xd9" not in tail:
        return None
    if data.startswith(b"\x89PNG") and b"IEND" not in tail:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        return None
    return image if image is not None and image.size else None
