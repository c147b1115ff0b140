"""`linewatch calibrate`: each part of a camera's calibration is a command, in a package of its own."""

from typing import Annotated

from cyclopts import App, Parameter

from linewatch.contracts.errors import ConfigError

calibrate = App(name="calibrate")
calibrate.command(
    "linewatch.calibration.flat_field.cli:flat_field",
    name="flat-field",
    help="Make every pixel answer alike to the same light, from a dark and a bright reference.",
)


@calibrate.default
def _other(*words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> None:
    """Calibrate a camera, one part at a time."""
    if not words:
        calibrate.help_print()
        return
    parts = sorted(name for name in calibrate if not name.startswith("-"))
    raise ConfigError(
        f"found {words[0]!r}, expected a part of a camera's calibration: {', '.join(parts)}; the thresholds of an "
        "engine are chosen by `linewatch fit-thresholds`"
    )
