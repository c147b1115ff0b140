"""`linewatch calibrate encoder`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.command import By, Picture, Recording, check_frames, keep_and_print
from linewatch.service_settings import load_settings
from linewatch.terminal import AsJson


def encoder(
    config: Annotated[Path, Parameter(help="Configuration of the camera's service, with [line.encoder].")],
    /,
    *,
    length_mm: Annotated[float, Parameter(help="Between the middles of both marks, along the strip.")],
    length_uncertainty_mm: Annotated[float, Parameter(help="Standard uncertainty of that length.")] = 0.5,
    recording: Recording = None,
    frames: Annotated[int, Parameter(help="Pictures to take, until both marks have passed.")] = 64,
    by: By = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.calibration.encoder.making import LEAST_PICTURES, make_encoder_scale
    from linewatch.calibration.keeping import former_calibration, this_user
    from linewatch.calibration.taking import known_serial, take
    from linewatch.config.calibration_part import Measured
    from linewatch.contracts.errors import ConfigError

    settings = load_settings(config)
    check_frames(frames, LEAST_PICTURES)
    if not 1 <= length_mm <= 1e6 or not 0 <= length_uncertainty_mm < length_mm:
        raise ConfigError(
            f"--length-mm is {length_mm:g} ± {length_uncertainty_mm:g}, expected 1 to 1000000 and less uncertainty"
        )
    scale = settings.line.encoder
    if scale is None:
        raise ConfigError(f"{config}: has no [line.encoder], expected one with about its counts_per_mm; add it")
    taken = take(settings, frames, "marks", recorded=recording, least=LEAST_PICTURES, config=config)
    serial = known_serial(taken)
    former_calibration(settings.calibration.folder, serial, "encoder", settings.line.width_px)
    length = Measured(value=length_mm, uncertainty=length_uncertainty_mm)
    made = make_encoder_scale(taken, scale, settings.capture, by or this_user(), length)
    part = made.part

    def draw(to: Path) -> None:
        from linewatch.calibration.encoder.drawing import draw_encoder_scale

        draw_encoder_scale(made, to)

    before = scale.counts_per_mm / scale.strip_mm_per_roll_mm
    rows = [
        ("between the marks", f"{part.counts.told()} counts on {part.length_mm.told(1, 'mm')}"),
        ("scale", part.counts_per_mm.told(1, "counts a millimetre of strip")),
        ("before", f"{before:.6g}, {part.counts_per_mm.value / before - 1.0:+.3%} to the scale now"),
    ]
    keep_and_print(settings, serial, "encoder", part, rows, draw, picture, as_json=as_json)
