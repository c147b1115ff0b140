"""`linewatch calibrate overlap`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.calibration.told import By, Picture, Recording, draw_if_possible, print_kept
from linewatch.service_settings import load_settings
from linewatch.terminal import AsJson


def overlap(
    config: Annotated[Path, Parameter(help="Configuration of the camera's service.")],
    neighbour: Annotated[Path, Parameter(help="Configuration of its neighbour's, whose positions count as right.")],
    /,
    *,
    recording: Recording = None,
    neighbour_recording: Annotated[
        str | None, Parameter(help="The same of the neighbour. Give both recordings or none.")
    ] = None,
    search_mm: Annotated[float, Parameter(help="By how much their positions may differ, each way.")] = 50.0,
    frames: Annotated[int, Parameter(help="Pictures to take of each.")] = 16,
    by: By = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from linewatch.calibration.keeping import former_calibration, keep_part, this_user
    from linewatch.calibration.overlap.making import OverlapView, make_overlap
    from linewatch.calibration.taking import known_serial, take
    from linewatch.capture.find_calibration import own_calibration
    from linewatch.config.calibrated import calibrated_line
    from linewatch.contracts.errors import ConfigError

    if (recording is None) != (neighbour_recording is None):
        raise ConfigError("found one recording, expected two or none: give --recording and --neighbour-recording")
    if not 4 <= frames <= 256:
        raise ConfigError(f"--frames is {frames}, expected 4 to 256")
    if not 1 <= search_mm <= 2000:
        raise ConfigError(f"--search-mm is {search_mm:g}, expected 1 to 2000")
    chosen = [
        (load_settings(one), one, given) for one, given in ((config, recording), (neighbour, neighbour_recording))
    ]
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="take") as pool:  # live cameras must see the same strip
        takes = [
            pool.submit(take, settings, frames, "strip", recorded=given, least=4, config=path)
            for settings, path, given in chosen
        ]
        taken = [one.result() for one in takes]
    views, parts = [], []
    for (settings, _, _), seen in zip(chosen, taken, strict=True):
        serial = known_serial(seen)
        known = own_calibration(settings.calibration, settings.line, serial)
        line = calibrated_line(settings.line, known)
        geometry = known.geometry.made if known is not None and known.geometry is not None else None
        views.append(OverlapView(seen, line, serial, geometry))
        parts.append(known.overlap if known is not None else None)
    ours, theirs = views
    if ours.serial == theirs.serial:
        raise ConfigError(f"{config} and {neighbour} are both of camera {ours.serial!r}, expected two cameras")
    folder = chosen[0][0].calibration.folder
    former_calibration(folder, ours.serial, "overlap", ours.line.width_px)
    beyond = parts[1] if parts[1] is not None and parts[1].neighbour != ours.serial else None
    made = make_overlap(ours, theirs, by or this_user(), search_mm, beyond)
    part = made.part
    path = keep_part(folder, ours.serial, "overlap", part)

    def draw(to: Path) -> None:
        from linewatch.calibration.overlap.drawing import draw_overlap

        draw_overlap(made, to)

    drawn = draw_if_possible(draw, picture or path.with_name(f"{path.stem}-overlap.png"))
    rows = [
        ("neighbour", theirs.serial),
        ("both see", f"{part.overlap_mm:.1f} mm of strip"),
        ("add across", part.across_shift_mm.told(1, "mm")),
        ("add along", part.along_offset_mm.told(1, "mm")),
        (
            "they agree",
            f"with a correlation of {part.correlation:.2f}, {made.correlation.strength.max():.0f} times chance",
        ),
    ]
    print_kept("overlap", ours.serial, path, drawn, part, rows, as_json=as_json)
