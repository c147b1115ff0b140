"""What every `linewatch calibrate` command has in common with the others: its options, and what it tells at the end."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.keeping import former_path
from linewatch.config.calibration_part import CalibrationPart
from linewatch.contracts.errors import ConfigError
from linewatch.terminal import extra, print_pairs

By = Annotated[str | None, Parameter(help="Who makes it. Default: the user of this process.")]
Picture = Annotated[Path | None, Parameter(help="The drawing, a .png file. Default: beside the calibration.")]


def draw_if_possible(draw: Callable[[Path], None], to: Path) -> str:
    """Draw to a file, and say where it is; without the package that draws, say how to install it."""
    try:
        with extra("calibrate"):
            draw(to)
    except ConfigError as error:
        return f"not drawn: {error}"
    return str(to)


def print_kept(
    title: str,
    serial: str,
    path: Path,
    picture: str,
    part: CalibrationPart,
    rows: Sequence[tuple[str, str]],
    *,
    as_json: bool,
) -> None:
    """Tell what was kept, and how good it is. rows: names and values with uncertainty, for people."""
    if as_json:
        packed = {name for name, value in part if hasattr(value, "data")}
        told = {"path": str(path), "serial": serial, "picture": picture}
        print(json.dumps(told | part.model_dump(mode="json", exclude=packed)))  # noqa: T201
        return
    kept = f"{path}; the one before is {former_path(path).name}" if former_path(path).exists() else str(path)
    print_pairs(f"{title} of camera {serial}", [*rows, ("kept in", kept), ("picture", picture)])
