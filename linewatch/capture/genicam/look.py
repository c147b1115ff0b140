"""One picture of a camera, and how bright it is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict

from linewatch.capture.cameras.genicam import GenicamSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.genicam.connection import looked_at
from linewatch.capture.genicam.mono import MONO_FORMATS, mono_format
from linewatch.config.base import Settings
from linewatch.config.line import LineSettings
from linewatch.config.load import checked, toml_of
from linewatch.config.text import read_text
from linewatch.contracts.errors import ConfigError, SourceError


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as the service would see it, uint8 (lines, width), and its levels of 0 to 255.

    low, high: 1 % of the pixels are below, above. saturated: share of pixels at 255. missing_lines: not received.
    """

    camera: str
    image: np.ndarray
    pixel_format: str
    black_level: int
    white_level: int
    mean: float
    low: int
    high: int
    saturated: float
    missing_lines: int


class LookedAtSettings(Settings):
    """The part of a service's configuration that sets its camera."""

    model_config = ConfigDict(extra="ignore")
    line: LineSettings = LineSettings()
    source: GenicamSource


def look(which: str, config: Path | None, black_level: int | None, white_level: int | None) -> Look:
    """Take one picture: as the configuration says, or as the camera is set now. Raises SourceError, ConfigError."""
    if config is None:
        source, line = _as_it_is(which, black_level, white_level)
    elif black_level is None and white_level is None:
        text = read_text(config, "give the path of a TOML configuration")
        settings = checked(toml_of(text, config), str(config), LookedAtSettings, text)
        source, line = settings.source.model_copy(update={"camera": which}), settings.line
    else:
        raise ConfigError("--config has its own black_level and white_level; leave --black and --white out")
    with source.open(line, MonotonicClock(), live=False) as camera:
        if (grab := camera.read()) is None or grab.image is None:
            raise SourceError(
                f"camera {camera.serial} sent no picture that can be read, expected one; see the log above for why"
            )
        image = grab.image.copy()
    low, high = np.percentile(image, (1, 99))
    top = mono_format(source.pixel_format).top
    return Look(
        camera=f"camera {camera.serial}",
        image=image,
        pixel_format=source.pixel_format,
        black_level=source.black_level or 0,
        white_level=source.white_level or top,
        mean=round(float(image.mean()), 1),
        low=round(low),
        high=round(high),
        saturated=float((image == 255).mean()),
        missing_lines=grab.lines - len(image),
    )


def _as_it_is(which: str, black_level: int | None, white_level: int | None) -> tuple[GenicamSource, LineSettings]:
    with looked_at(which) as (found, features):
        width, lines, named = (features.get(name) for name in ("Width", "Height", "PixelFormat"))
    form = next((one for one in MONO_FORMATS if one.name == named), None)
    if form is None:
        raise SourceError(
            f"{found.told} is set to pixel format {named}, expected a gray one ({MONO_FORMATS[0].name} ...); "
            "give --config with [source] pixel_format"
        )
    fields = LineSettings.model_fields
    for value, name, feature in ((width, "width_px", "Width"), (lines, "frame_lines", "Height")):
        low, high = (getattr(bound, kind) for bound, kind in zip(fields[name].metadata, ("ge", "le"), strict=True))
        if not isinstance(value, int) or not low <= value <= high:
            raise SourceError(f"{found.told} is set to {feature} {value}, expected {low} to {high}; give --config")
    source = GenicamSource(
        type="genicam",
        camera=found.address or found.id,
        pixel_format=form.name,
        black_level=black_level or 0,
        white_level=white_level or form.top,
    )
    return source, LineSettings(width_px=width, frame_lines=lines)  # type: ignore[arg-type]
