"""The sidecar of a recording: everything about each grab but its pixels, one JSON line a grab behind a header."""

import codecs
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from linewatch.config.calibration_file import CameraCalibration
from linewatch.config.line import LineSettings
from linewatch.contracts.bounds import Mm, Whole
from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.coil import CoilName
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab, PositionFault

_MOST_LINES = 10**11  # of a coil: positions stay within what messages can hold


class SidecarHeader(ClosedModel):
    """The first line of a sidecar."""

    schema_version: Literal[1] = 1
    line: LineSettings
    calibration: CameraCalibration | None = Field(
        default=None, description="of the camera while it was recorded; the recorded pixels are not corrected by it"
    )
    serial: str = Field(default="", max_length=100, description="of the camera; empty: it has none")


class SidecarGrab(ClosedModel):
    """One grab. `video_frame` is None where the video could not hold its pixels; `fault` says why."""

    coil: CoilName
    sequence: Whole
    first_line: int = Field(ge=0, le=_MOST_LINES)
    lines: int = Field(ge=0, le=_MOST_LINES)
    valid_lines: int = Field(ge=0, le=_MOST_LINES, description="leading lines of the video frame that are the grab's")
    encoder_count: Whole
    along_mm: Mm
    mm_per_line: float = Field(gt=0, le=1000)
    captured_ns: Whole
    encoded: bool
    fault: Cause | None
    video_frame: int | None = Field(ge=0)
    crc32: int | None = Field(description="of the whole video frame's bytes")
    position_fault: PositionFault | None = None
    change_line: int | None = Field(default=None, ge=0, description="the first line behind a weld")

    def grab(self, image: np.ndarray | None) -> Grab:
        """Return the recorded grab with `image`. Where the image is missing, its fault is CORRUPT."""
        missing = image is None and self.video_frame is not None
        return Grab(
            image=image,
            coil=self.coil,
            sequence=self.sequence,
            first_line=self.first_line,
            lines=self.lines,
            encoder_count=self.encoder_count,
            along_mm=self.along_mm,
            mm_per_line=self.mm_per_line,
            captured_ns=self.captured_ns,
            encoded=self.encoded,
            fault=Cause.CORRUPT if missing else self.fault,
            position_fault=self.position_fault,
            change_line=self.change_line,
        )


class Sidecar(ClosedModel):
    header: SidecarHeader
    grabs: tuple[SidecarGrab, ...]


def sidecar_path(video: Path) -> Path:
    """Return the path of a video's sidecar: `coil.avi` -> `coil.sidecar.jsonl`."""
    return video.with_suffix(".sidecar.jsonl")


def checksum(gray: np.ndarray) -> int:
    """Return the CRC-32 of a gray image's bytes."""
    return zlib.crc32(np.ascontiguousarray(gray).data)


def _no_sidecar(path: Path, number: int, error: ValidationError) -> SourceError:
    return SourceError(
        f"sidecar {path}, line {number}: {_first_of(error)}; expected what `linewatch record` writes; "
        "remove the file to replay the video by line rate alone"
    )


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    return "".join(f"{name}: " for name in first["loc"]) + first["msg"]


def read_header(path: Path) -> SidecarHeader:
    """Read the first line of a sidecar alone. Raises SourceError when it is not a sidecar."""
    try:
        with path.open("rb") as file:
            return SidecarHeader.model_validate_json(file.readline().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise SourceError(f"cannot read sidecar {path}: {error.strerror}") from error
    except ValidationError as error:
        raise _no_sidecar(path, 1, error) from error


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar, without a last line that is cut short by a kill. Raises SourceError when it is not a sidecar."""
    try:
        rows = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    except OSError as error:
        raise SourceError(f"cannot read sidecar {path}: {error.strerror}") from error
    if rows and not rows[-1].endswith(b"\n"):
        rows.pop()
    number = 1
    try:
        header = SidecarHeader.model_validate_json(rows[0] if rows else b"")
        grabs = []
        for number, row in enumerate(rows[1:], start=2):  # noqa: B007 (the error names it)
            grabs.append(SidecarGrab.model_validate_json(row))
    except ValidationError as error:
        raise _no_sidecar(path, number, error) from error
    return Sidecar(header=header, grabs=tuple(grabs))
