"""`linewatch calibrate overlap`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.calibration.command import By, Picture, Recording, check_frames, keep_and_print
from linewatch.service_settings import ServiceSettings, load_settings
from linewatch.terminal import AsJson

if TYPE_CHECKING:
    from linewatch.calibration.overlap.making import OverlapView
    from linewatch.config.line_parts import CameraOverlap


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
    from linewatch.calibration.keeping import former_calibration, this_user
    from linewatch.calibration.overlap.making import LEAST_PICTURES, make_overlap
    from linewatch.contracts.errors import ConfigError

    if (recording is None) != (neighbour_recording is None):
        raise ConfigError("found one recording, expected two or none: give --recording and --neighbour-recording")
    check_frames(frames, LEAST_PICTURES, 256)
    if not 1 <= search_mm <= 2000:
        raise ConfigError(f"--search-mm is {search_mm:g}, expected 1 to 2000")
    settings = load_settings(config)
    both = (settings, config, recording), (load_settings(neighbour), neighbour, neighbour_recording)
    (ours, _), (theirs, theirs_with) = _views(both, frames)
    if ours.serial == theirs.serial:
        raise ConfigError(f"{config} and {neighbour} are both of camera {ours.serial!r}, expected two cameras")
    former_calibration(settings.calibration.folder, ours.serial, "overlap", ours.line.width_px)
    beyond = theirs_with if theirs_with is not None and theirs_with.neighbour != ours.serial else None
    made = make_overlap(ours, theirs, by or this_user(), search_mm, beyond)
    part = made.part

    def draw(to: Path) -> None:
        from linewatch.calibration.overlap.drawing import draw_overlap

        draw_overlap(made, to)

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
    keep_and_print(settings, ours.serial, "overlap", part, rows, draw, picture, as_json=as_json)


def _views(
    cameras: Sequence[tuple[ServiceSettings, Path, str | None]], frames: int
) -> list[tuple["OverlapView", "CameraOverlap | None"]]:
    """Return what cameras see at the same time, each with the overlap that it was calibrated with before.

    cameras: settings of each, the file that they are of, and a recording; None: live.
    """
    from concurrent.futures import ThreadPoolExecutor

    from linewatch.calibration.overlap.making import LEAST_PICTURES, OverlapView
    from linewatch.calibration.taking import known_serial, take
    from linewatch.capture.find_calibration import own_calibration
    from linewatch.config.calibrated import calibrated_line

    with ThreadPoolExecutor(len(cameras), thread_name_prefix="take") as pool:  # live cameras must see the same strip
        takes = [
            pool.submit(take, settings, frames, "strip", recorded=given, least=LEAST_PICTURES, config=path)
            for settings, path, given in cameras
        ]
        taken = [one.result() for one in takes]
    views = []
    for (settings, _, _), seen in zip(cameras, taken, strict=True):
        serial = known_serial(seen)
        known = own_calibration(settings.calibration, settings.line, serial)
        geometry = known.geometry.made if known is not None and known.geometry is not None else None
        view = OverlapView(seen, calibrated_line(settings.line, known), serial, geometry)
        views.append((view, known.overlap if known is not None else None))
    return views
