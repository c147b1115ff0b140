"""`linewatch calibrate geometry` and `linewatch calibrate target`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.command import By, Picture, Recording, check_frames, keep_and_print
from linewatch.service_settings import load_settings
from linewatch.terminal import AsJson

Pitch = Annotated[float, Parameter(help="Of the target: a dark and a light bar together, in mm.")]


def geometry(
    config: Annotated[Path, Parameter(help="Configuration of the camera's service.")],
    /,
    *,
    pitch_mm: Pitch,
    index_mm: Annotated[
        float, Parameter(help="Where the middle of its index lies across, from the mill's datum.")
    ] = 0.0,
    recording: Recording = None,
    frames: Annotated[int, Parameter(help="Pictures to take.")] = 16,
    by: By = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.calibration.geometry.making import LEAST_PICTURES, make_geometry
    from linewatch.calibration.keeping import former_calibration, this_user
    from linewatch.calibration.taking import known_serial, take
    from linewatch.contracts.errors import ConfigError

    settings = load_settings(config)
    check_frames(frames, LEAST_PICTURES, 4096)
    if not 0.01 <= pitch_mm <= 1000:
        raise ConfigError(f"--pitch-mm is {pitch_mm}, expected 0.01 to 1000")
    taken = take(settings, frames, "target", recorded=recording, least=LEAST_PICTURES, config=config)
    serial = known_serial(taken)
    former_calibration(settings.calibration.folder, serial, "geometry", settings.line.width_px)
    made = make_geometry(taken, settings.line, by or this_user(), pitch_mm, index_mm)
    part = made.part

    def draw(to: Path) -> None:
        from linewatch.calibration.geometry.drawing import draw_geometry

        draw_geometry(made, to)

    half_mm = part.width_px * part.mm_per_px.value / 2.0
    rows = [
        ("scale across", part.mm_per_px.told(1, "mm a pixel")),
        ("first pixel", part.across_offset_mm.told(1, "mm from the datum")),
        ("lens distortion", f"up to {part.distortion_mm:.3f} mm, {part.distortion_mm / half_mm:.2%} of half the view"),
        ("a position across", f"± {part.position_uncertainty_mm:.3f} mm where it is least sure"),
        ("edges", f"{part.edges} of {len(made.fit.used)} used, off the map by {part.residual_mm:.4f} mm (rms)"),
    ]
    keep_and_print(settings, serial, "geometry", part, rows, draw, picture, as_json=as_json)


def target(
    out: Annotated[Path, Parameter(help="The drawing, an .svg file in millimetres.")],
    /,
    *,
    pitch_mm: Pitch = 10.0,
    width_mm: Annotated[float, Parameter(help="Across the strip: as wide as the camera's view.")] = 900.0,
    height_mm: Annotated[float, Parameter(help="Along the strip.")] = 60.0,
) -> None:
    from linewatch.calibration.geometry.printed import printed_target
    from linewatch.files import write_output

    write_output(out, printed_target(width_mm, height_mm, pitch_mm).encode())
    print(f"{out}: print it at 100 % on stiff, matt material, and check the scale below the bars with a ruler")
