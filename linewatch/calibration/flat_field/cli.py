"""`linewatch calibrate flat-field`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from linewatch.calibration.command import By, Picture, check_frames, keep_and_print
from linewatch.service_settings import load_settings
from linewatch.terminal import AsJson


def flat_field(
    config: Annotated[Path, Parameter(help="Configuration of the camera's service.")],
    /,
    *,
    dark: Annotated[
        str | None, Parameter(help="A recording, or a folder of frames, with the lens covered. Default: live.")
    ] = None,
    bright: Annotated[
        str | None, Parameter(help="The same of a uniform target that fills the view and stands still. Default: live.")
    ] = None,
    frames: Annotated[int, Parameter(help="Pictures to take of each.")] = 64,
    target_level: Annotated[
        float | None,
        Parameter(help="Gray level to bring the bright target to. Default: that of its best lit part."),
    ] = None,
    per: Annotated[
        Literal["column", "pixel"], Parameter(help="column: a line-scan camera; pixel: an area camera.")
    ] = "column",
    by: By = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.calibration.flat_field.making import LEAST_PICTURES, make_flat_field, refuse_light
    from linewatch.calibration.keeping import former_calibration, this_user
    from linewatch.calibration.taking import known_serial, take
    from linewatch.contracts.errors import ConfigError

    settings = load_settings(config)
    check_frames(frames, LEAST_PICTURES)
    if target_level is not None and not 1 <= target_level <= 255:
        raise ConfigError(f"--target-level is {target_level}, expected 1 to 255")
    both_live = dark is None and bright is None
    if both_live:
        _ask("Cover the lens")
    dark_taken = take(settings, frames, "dark", recorded=dark, least=LEAST_PICTURES, config=config)
    refuse_light(dark_taken)
    serial = known_serial(dark_taken)
    former_calibration(settings.calibration.folder, serial, "flat_field", settings.line.width_px)
    if both_live:
        _ask("Uncover the lens, and let the target fill the view")
    bright_taken = take(settings, frames, "bright", recorded=bright, least=LEAST_PICTURES, config=config)
    made = make_flat_field(dark_taken, bright_taken, by or this_user(), per, target_level)
    part = made.part

    def draw(to: Path) -> None:
        from linewatch.calibration.flat_field.drawing import draw_flat_field

        draw_flat_field(made, to)

    rows = [
        ("unevenness before", part.uneven_before.told(100, "% of the mean level")),
        ("unevenness after", f"{part.uneven_after.told(100, '% of the mean level')}, on pictures it was not made from"),
        ("dark level", part.dark_level.told()),
        ("bright level", part.bright_level.told()),
        ("target level", f"{part.target_level:.1f}"),
        ("gain", f"{part.gain.levels.min() / 2**part.shift:.3f} to {part.gain.levels.max() / 2**part.shift:.3f}"),
        ("dead", _places(part.dead, "replaced by their neighbours")),
        ("hot", _places(part.hot, "corrected")),
    ]
    keep_and_print(settings, serial, "flat_field", part, rows, draw, picture, as_json=as_json)


def _ask(what: str) -> None:
    """Have the operator do something. Raises ConfigError where nobody can answer."""
    from linewatch.contracts.errors import ConfigError

    try:
        if sys.stdin.isatty():
            input(f"{what}, then press Enter: ")
            return
    except EOFError:
        pass
    raise ConfigError(
        f"nobody is at the terminal to be asked: {what.lower()}; give a recording with --dark or --bright"
    )


def _places(places: tuple[tuple[int, int], ...], fate: str) -> str:
    if not places:
        return "none"
    columns = sorted({column for _, column in places})
    named = ", ".join(map(str, columns[:10])) + (", ..." if len(columns) > 10 else "")
    return f"{len(places)} pixels of a line, {fate}: columns {named}"
