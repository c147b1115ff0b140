"""Decisions about a video by OpenCV's default writers are those about the gray original, within a tolerance."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.config.line import LineSettings
from linewatch.config.wire import ANY_PORT, WireSettings
from linewatch.daemon.replay import ReplaySummary, replay
from linewatch.service_settings import ServiceSettings, with_source
from linewatch.simulation.strip import SimulatedStrip

LINE = LineSettings()
FRAMES = 20


def write(path: Path, fourcc: str, *, colour: bool) -> None:
    strip = SimulatedStrip(11, FRAMES * LINE.frame_lines * LINE.mm_per_line / 1000, 4.0, LINE)
    video = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), 25, (LINE.width_px, LINE.frame_lines), colour
    )
    for number in range(FRAMES):
        gray = strip.lines(number * LINE.frame_lines, LINE.frame_lines)
        video.write(np.repeat(gray[..., None], 3, -1) if colour else gray)
    video.release()


def decided(path: Path) -> ReplaySummary:
    settings = with_source(ServiceSettings(), str(path), own_line=True)
    wire = WireSettings(publish=ANY_PORT, serve=ANY_PORT)
    return replay(settings.model_copy(update={"wire": wire}))


@pytest.mark.service
@pytest.mark.slow
def test_decisions_over_a_colour_copy_agree_with_the_gray_original(tmp_path: Path) -> None:
    """Coverage and tiles are equal; tiles that pass the screen, and defects, differ by a fifth: codecs add noise."""
    write(tmp_path / "gray.avi", "FFV1", colour=False)
    gray = decided(tmp_path / "gray.avi")
    assert sum(gray.defects_by_class.values()) >= 8
    for fourcc, name in (("MJPG", "mjpg.avi"), ("mp4v", "mp4v.mp4")):
        write(tmp_path / name, fourcc, colour=True)
        copy = decided(tmp_path / name)
        assert (copy.coverage, copy.tiles, copy.lines_missed_by_cause) == (
            gray.coverage,
            gray.tiles,
            gray.lines_missed_by_cause,
        )
        assert copy.tiles_passed == pytest.approx(gray.tiles_passed, rel=0.2)
        defects = sum(gray.defects_by_class.values())
        assert sum(copy.defects_by_class.values()) == pytest.approx(defects, rel=0.2, abs=1)
