"""Take pictures for a calibration: from the configured camera, or from a recording or a folder of frames."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.find_calibration import camera_serial
from linewatch.capture.gray import gray_of
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.service_settings import ServiceSettings, with_source
from linewatch.signals import on_end
from linewatch.terminal import progress_bar

_SATURATED_LEVEL = 255
MOST_SATURATED = 0.001
"""Share of pixels at the top of the range from which a picture tells nothing of how bright the target is."""
MOST_CHANGE = 0.01
"""Share of the mean level by which the columns of a still target may change from picture to picture."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Pictures for a calibration. pictures: uint8 (n, lines, width). grabs: theirs, in order, without images.

    serial: of the camera; "": neither the source nor the configuration tells it. origin: what they were taken from.
    """

    pictures: np.ndarray
    grabs: tuple[Grab, ...]
    serial: str
    origin: str


def take(
    settings: ServiceSettings, frames: int, about: str, *, recorded: str | None = None, least: int = 1, config: Path
) -> Taken:
    """Take `frames` whole pictures, with a progress bar; SIGINT and SIGTERM end it.

    recorded: a recording or a folder; None: the camera of the configuration `config`, live. about: a word for the bar.
    Raises SourceError where the source gives pictures of another size, or fewer than `least` that can be used;
    ConfigError where there is no source, or the configured serial is not the camera's.
    """
    live = recorded is None
    if recorded is not None:
        settings = with_source(settings, recorded, own_line=False)
    if settings.source is None:
        raise ConfigError(f"{config}: has no [source]; add one, or name a recording of the camera")
    origin = str(config) if recorded is None else recorded
    pictures: list[np.ndarray] = []
    grabs: list[Grab] = []
    unfit: Counter[Cause] = Counter()
    camera = open_camera(settings.source, settings.line, MonotonicClock(), live=live)
    with camera, on_end(camera.stop), progress_bar(about, frames) as show:
        while len(pictures) < frames and (grab := camera.read()) is not None:
            picture = _whole(grab, settings, origin)
            if isinstance(picture, Cause):
                unfit[picture] += 1
            else:
                pictures.append(picture.copy())
                grabs.append(replace(grab, image=None))
            show(len(pictures), f"{unfit.total()} unfit" if unfit else "")
        serial = camera_serial(settings.calibration, camera.serial)  # known once the camera is there
    if len(pictures) < least:
        causes = "".join(f", {count} {cause}" for cause, count in unfit.most_common())
        raise SourceError(
            f"{origin}: gave {len(pictures)} whole pictures{causes}, expected {least} or more; let the camera run for "
            "longer, or record more"
        )
    return Taken(np.stack(pictures), tuple(grabs), serial, origin)


def known_serial(taken: Taken) -> str:
    """Return the serial that the calibration is kept under. Raises ConfigError where nothing tells it."""
    if not taken.serial:
        raise ConfigError(
            f"{taken.origin}: does not tell the camera's serial, by which its calibration is kept; add [calibration] "
            "serial to the configuration"
        )
    return taken.serial


def refuse_saturated(taken: Taken) -> None:
    """Raise SourceError where too many pixels are at the top of the range."""
    share = np.count_nonzero(taken.pictures == _SATURATED_LEVEL) / taken.pictures.size
    if share > MOST_SATURATED:
        raise SourceError(
            f"{taken.origin}: {share:.1%} of the pixels are saturated, expected {MOST_SATURATED:.1%} or fewer; lower "
            "the exposure, the gain or the light"
        )


def refuse_moving(taken: Taken) -> None:
    """Raise SourceError where the pictures of a target that should stand still differ from each other."""
    if (change := change_between(taken.pictures)) > MOST_CHANGE:
        raise SourceError(
            f"{taken.origin}: the picture changes by {change:.1%} from one to the next, expected {MOST_CHANGE:.0%} or "
            "less; let the target stand still, and the light be steady"
        )


def change_between(pictures: np.ndarray) -> float:
    """Return by what share of the mean level columns change from picture to picture, beyond their noise.

    pictures: uint8 (n, lines, width), n of 2 or more. Of all columns the 95th percentile counts.
    """
    means = pictures.mean(axis=1, dtype=np.float64)
    noise = pictures.var(axis=1, dtype=np.float32).mean(axis=0) / pictures.shape[1]
    excess = np.sqrt(np.maximum(0.0, means.var(axis=0, ddof=1) - noise))
    return float(np.percentile(excess, 95) / max(1.0, means.mean()))


def _whole(grab: Grab, settings: ServiceSettings, origin: str) -> np.ndarray | Cause:
    """Return the picture of a whole grab, or why it cannot be used. Raises SourceError for one of another size."""
    if grab.image is None or grab.fault is not None:
        return grab.fault or Cause.CORRUPT
    line, gray = settings.line, gray_of(grab.image, settings.line)
    if gray is Cause.WRONG_SIZE:
        lines, width = grab.image.shape[:2]
        raise SourceError(
            f"{origin}: has pictures of {width} px x {lines} lines, [line] expects {line.width_px} x "
            f"{line.frame_lines}; set width_px and frame_lines as the camera gives them"
        )
    if isinstance(gray, Cause):
        return gray
    return gray if len(gray) == line.frame_lines else Cause.TRUNCATED
