"""`linewatch calibrate edges`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.command import By, Picture, Recording, check_frames, keep_and_print
from linewatch.service_settings import load_settings
from linewatch.terminal import AsJson


def edges(
    config: Annotated[Path, Parameter(help="Configuration of the camera's service.")],
    /,
    *,
    recording: Recording = None,
    frames: Annotated[int, Parameter(help="Pictures to take.")] = 64,
    by: By = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.calibration.edges.making import LEAST_PICTURES, make_edges
    from linewatch.calibration.keeping import former_calibration, this_user
    from linewatch.calibration.taking import known_serial, take

    settings = load_settings(config)
    check_frames(frames, LEAST_PICTURES)
    taken = take(settings, frames, "strip", recorded=recording, least=LEAST_PICTURES, config=config)
    serial = known_serial(taken)
    former_calibration(settings.calibration.folder, serial, "edges", settings.line.width_px)
    made = make_edges(taken, settings.capture, by or this_user())
    part = made.part

    def draw(to: Path) -> None:
        from linewatch.calibration.edges.drawing import draw_edges

        draw_edges(made, to)

    now = settings.capture
    rows = [
        ("background", part.background_level.told(1, "gray levels")),
        ("strip", part.strip_level.told(1, "gray levels")),
        ("edge_level", f"{part.edge_level}; [capture] has {now.edge_level}"),
        ("edge_min_width_px", f"{part.edge_min_width_px}; [capture] has {now.edge_min_width_px}"),
        ("on the wrong side", f"{part.wrong_columns:.3%} of the columns"),
        ("an edge scatters", f"by {part.edge_scatter_px:.2f} px from picture to picture"),
    ]
    keep_and_print(settings, serial, "edges", part, rows, draw, picture, as_json=as_json)
