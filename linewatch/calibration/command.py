"""What the `linewatch calibrate` commands share: their options, their checks, and how they keep and print a result."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.keeping import former_path, keep_part
from linewatch.config.calibration_part import CalibrationPart
from linewatch.contracts.errors import ConfigError
from linewatch.service_settings import ServiceSettings
from linewatch.terminal import extra, print_pairs

By = Annotated[str | None, Parameter(help="Who makes it. Default: the user of this process.")]
Recording = Annotated[str | None, Parameter(help="A recording, or a folder of frames. Default: the camera, live.")]
Picture = Annotated[Path | None, Parameter(help="The drawing, a .png file. Default: beside the calibration.")]


def check_frames(frames: int, least: int, most: int = 1024) -> None:
    """Raise ConfigError for a number of pictures that the calibration cannot be made from."""
    if not least <= frames <= most:
        raise ConfigError(f"--frames is {frames}, expected {least} to {most}")


def keep_and_print(
    settings: ServiceSettings,
    serial: str,
    name: str,
    part: CalibrationPart,
    rows: Sequence[tuple[str, str]],
    draw: Callable[[Path], None],
    picture: Path | None,
    *,
    as_json: bool,
) -> None:
    """Keep a part of the camera's calibration, draw it, and print what was kept and how good it is.

    name: of the part in the calibration. rows: names and values with uncertainty, for people. picture: where to draw
    to; None: beside the calibration. Raises ConfigError as `keep_part` does.
    """
    path = keep_part(settings.calibration.folder, serial, name, part)
    drawn = _draw_if_possible(draw, picture or path.with_name(f"{path.stem}-{name.replace('_', '-')}.png"))
    if as_json:
        packed = {field for field, value in part if hasattr(value, "data")}
        facts = {"path": str(path), "serial": serial, "picture": drawn}
        print(json.dumps(facts | part.model_dump(mode="json", exclude=packed)))
        return
    former = former_path(path)
    kept = f"{path}; the one before is {former.name}" if former.exists() else str(path)
    title = f"{name.replace('_', ' ')} of camera {serial}"
    print_pairs(title, [*rows, ("kept in", kept), ("picture", drawn)])


def _draw_if_possible(draw: Callable[[Path], None], to: Path) -> str:
    """Draw to a file, and say where it is; without the package that draws, say how to install it."""
    try:
        with extra("calibrate"):
            draw(to)
    except ConfigError as error:
        return f"not drawn: {error}"
    return str(to)
