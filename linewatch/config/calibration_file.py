"""A camera's calibration: one file by the camera's serial, with a part for each thing that was calibrated."""

import hashlib
import json
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, model_validator

from linewatch.config.calibration_part import CalibrationPart
from linewatch.config.flat_field import FlatField
from linewatch.config.line_parts import CameraGeometry, CameraOverlap, EdgeThresholds, EncoderScale
from linewatch.config.text import read_text
from linewatch.contracts.bounds import Serial
from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import ConfigError

VERSION: Final = 1
_REMEDY = "put back the file before it (.old), or move this one away and run `linewatch calibrate` again"


class CameraCalibration(ClosedModel):
    """All that is known of one camera. `digest` is over all the rest, so that an edited or damaged file is noticed.

    What has its default value does not count for the digest, so that a version that knows more reads older files.
    """

    schema_version: Literal[1] = 1
    serial: Serial
    flat_field: FlatField | None = None
    geometry: CameraGeometry | None = None
    encoder: EncoderScale | None = None
    overlap: CameraOverlap | None = None
    edges: EdgeThresholds | None = None
    digest: str = Field(default="", description="SHA-256, in hex")

    @classmethod
    def sealed(cls, serial: str, **parts: CalibrationPart | None) -> Self:
        """Return a calibration of these parts, with its digest."""
        bare = cls.model_construct(serial=serial, **parts)  # type: ignore[arg-type]  # validated below
        return cls(serial=serial, **parts, digest=bare._digest())  # type: ignore[arg-type]

    def with_part(self, name: str, part: CalibrationPart) -> Self:
        """Return the calibration with another part of that name."""
        return self.sealed(self.serial, **{**self.parts, name: part})

    @property
    def parts(self) -> dict[str, CalibrationPart]:
        """The parts that there are, by name."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: part for name, part in found if isinstance(part, CalibrationPart)}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know of parts that do not fit each other, in words."""
        overlap, geometry = self.overlap, self.geometry
        if overlap is None or overlap.geometry_made == (geometry.made if geometry else None):
            return ()
        return (
            "overlap was measured with another geometry than the file has; run `linewatch calibrate overlap` again",
        )

    @property
    def identity(self) -> str:
        """Return 12 hex digits that differ whenever anything in the calibration does."""
        return self.digest[:12]

    @cached_property
    def told(self) -> str:
        """Name the calibration in records: its identity, when its newest part was made (UTC), the camera's serial."""
        made = max((part.made.astimezone(UTC) for part in self.parts.values()), default=None)
        return " ".join((self.identity, f"{made:%Y-%m-%dT%H:%MZ}" if made else "-", self.serial))

    @model_validator(mode="after")
    def _is_as_written(self) -> Self:
        if self.digest != self._digest():
            raise ValueError("does not match its digest: it was edited or damaged, expected it as it was written")
        return self

    def _digest(self) -> str:
        content = self.model_dump(mode="json", exclude={"digest"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def calibration_path(folder: Path, serial: str) -> Path:
    """Return the file of a camera in the folder; characters that a file name should not have are written as %XX."""
    return folder / f"{quote(serial, safe=' ')}.json"


def read_calibration(path: Path) -> CameraCalibration:
    """Return the calibration in a file. Raises ConfigError where it is cut, edited or of another version."""
    text = read_text(path, "make one with `linewatch calibrate`, or name another")
    try:
        tree: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is cut or no JSON ({error}), expected a camera's calibration; {_REMEDY}") from error
    version = tree.get("schema_version", VERSION) if isinstance(tree, dict) else VERSION
    if version != VERSION:
        raise ConfigError(
            f"{path}: is of version {version!r}, this linewatch reads version {VERSION}; use the linewatch that wrote "
            "it, or calibrate the camera again"
        )
    try:
        return CameraCalibration.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {f'{where}: ' if where else ''}{said}; {_REMEDY}") from error


def check_calibration(calibration: CameraCalibration, origin: object, serial: str, width_px: int) -> None:
    """Raise ConfigError unless the calibration is of this camera and of pictures as wide as the line's.

    origin: where it stands, for messages. serial: "": the source does not tell it, and any fits.
    """
    if serial and calibration.serial != serial:
        raise ConfigError(
            f"{origin}: is of camera {calibration.serial!r}, this is camera {serial!r}; calibrate this one with "
            "`linewatch calibrate`, or name its file"
        )
    for name, part in calibration.parts.items():
        if part.width_px != width_px:
            raise ConfigError(
                f"{origin}: {name} was made at {part.width_px} px, [line] width_px is {width_px}; set the camera back "
                "to that width, or calibrate it again"
            )
