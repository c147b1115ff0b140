"""Settings as a camera's calibration has them. Where the two differ the calibration holds: it was measured."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from linewatch.config.base import Settings
from linewatch.config.calibration_file import CameraCalibration
from linewatch.config.calibration_part import CalibrationPart
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError

AnySettings = TypeVar("AnySettings", bound=Settings)


def calibrated_line(line: LineSettings, calibration: CameraCalibration | None) -> LineSettings:
    """Return the line as calibrated: where columns lie across, and what the encoder counts.

    Raises ConfigError where the encoder's calibration contradicts `mm_per_line`, as a wrong `counts_per_mm` would.
    """
    if calibration is None:
        return line
    line = _replaced(line, _of_geometry(calibration), calibration.serial)
    if line.encoder is not None:
        encoder = _replaced(line.encoder, _of_encoder(calibration), calibration.serial)
        line = _replaced(line, {"encoder": encoder} if encoder != line.encoder else {}, calibration.serial)
    return line


def calibrated_capture(capture: CaptureSettings, calibration: CameraCalibration | None) -> CaptureSettings:
    """Return the settings of the strip-edge finder as calibrated."""
    return capture if calibration is None else _replaced(capture, _of_edges(calibration), calibration.serial)


def replaced_settings(line: LineSettings, capture: CaptureSettings, calibration: CameraCalibration) -> tuple[str, ...]:
    """Return, for each setting that the configuration gives otherwise than the calibration, which of the two holds.

    A setting that the configuration does not give contradicts nothing.
    """
    found = [
        *_told("line", line, _of_geometry(calibration), calibration.geometry),
        *_told("capture", capture, _of_edges(calibration), calibration.edges),
    ]
    if line.encoder is not None:
        found += _told("line.encoder", line.encoder, _of_encoder(calibration), calibration.encoder)
    return tuple(found)


def _told(section: str, settings: Settings, values: Mapping[str, Any], part: CalibrationPart | None) -> list[str]:
    return [
        f"[{section}] {name} = {_shown(given)} does not hold: calibration ({part.made:%Y-%m-%d}) has {_shown(value)}"
        for name, value in values.items()
        if part is not None and name in settings.model_fields_set and (given := getattr(settings, name)) != value
    ]


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else f"{value:.8g}"


def _of_geometry(calibration: CameraCalibration) -> dict[str, Any]:
    part = calibration.geometry
    if part is None:
        return {}
    return {
        "across_offset_mm": part.across_offset_mm.value,
        "mm_per_px": part.mm_per_px.value,
        "distortion_px": part.distortion_px,
    }


def _of_encoder(calibration: CameraCalibration) -> dict[str, Any]:
    part = calibration.encoder
    return {} if part is None else {"counts_per_mm": part.counts_per_mm.value, "strip_mm_per_roll_mm": 1.0}


def _of_edges(calibration: CameraCalibration) -> dict[str, Any]:
    part = calibration.edges
    return {} if part is None else {"edge_level": part.edge_level, "edge_min_width_px": part.edge_min_width_px}


def _replaced(settings: AnySettings, values: Mapping[str, Any], serial: str) -> AnySettings:
    if not values:
        return settings
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        return type(settings).model_validate({**kept, **values})
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"calibration of {serial}: does not fit the configuration: {said}; correct the setting, or calibrate again"
        ) from error
