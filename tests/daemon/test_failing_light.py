"""Strip that cannot be seen is not inspected: too little light, too much, half of the lamp dead, no strip at all."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.capture.cameras.folder import FolderSource
from linewatch.config.grading import UNGRADED
from linewatch.config.line import LineSettings
from linewatch.daemon.replay import ReplaySummary, replay
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.strip import SimulatedStrip

pytestmark = pytest.mark.service

FRAMES = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture
def replayed(settings: ServiceSettings, tmp_path: Path) -> Callable[..., ReplaySummary]:
    """Replays six frames of rendered strip, the n-th one changed by `change(pixels, n)`, with grading."""

    def run(change: Callable[[np.ndarray, int], np.ndarray]) -> ReplaySummary:
        strip = SimulatedStrip(5, FRAMES * 256 / 1000, 0.0, LineSettings())
        for number in range(FRAMES):
            pixels = change(strip.lines(number * 256, 256), number)
            cv2.imwrite(str(tmp_path / f"frame_{number}.png"), pixels)
        decision = settings.decision.model_copy(update={"grading": ROOT / "configs" / "grading" / "example.toml"})
        source = FolderSource(type="folder", path=tmp_path)
        return replay(settings.model_copy(update={"source": source, "decision": decision}))

    return run


def test_strip_in_good_light_is_inspected(replayed) -> None:
    assert replayed(lambda pixels, _: pixels).coverage == 1.0


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda pixels, _: pixels // 10, "no_strip"),
        (lambda pixels, _: np.clip(pixels.astype(int) * 6, 0, 255).astype(np.uint8), "bright"),
        (lambda pixels, _: pixels // 16, "black"),
    ],
)
def test_strip_that_cannot_be_seen_is_missed_and_not_graded(replayed, change, cause: str) -> None:
    summary = replayed(change)
    assert summary.coverage == pytest.approx(0.0, abs=0.01)
    assert next(iter(summary.uninspected_mm2_by_cause)) == cause
    assert summary.alarms >= 1, "nobody configured an alarm, and it is raised all the same"
    assert summary.lines_missed_by_cause == {cause: FRAMES * 256}
    assert summary.grade is not None
    assert summary.grade.grade == UNGRADED


@pytest.mark.parametrize(("first", "right_too", "coverage"), [(2, False, 2 / 3), (0, True, 1 / 2)])
def test_half_of_the_lamp_dead_is_not_inspected(replayed, first: int, right_too: bool, coverage: float) -> None:
    """From the third frame on the left half is dark, or from the coil's head where only one edge is in view."""

    def half(pixels: np.ndarray, number: int) -> np.ndarray:
        pixels = pixels.copy()
        if right_too:
            pixels[:, 1500:] = 100
        if number >= first:
            pixels[:, :800] = 2
        return pixels

    summary = replayed(half)
    assert summary.coverage == pytest.approx(coverage, abs=0.03)
    assert summary.lines_missed_by_cause == {"narrow": (FRAMES - first) * 256}
    assert summary.alarms == 1
    assert summary.grade is not None
    assert summary.grade.grade != "A"


def test_lines_without_light_within_a_frame_are_not_inspected(replayed) -> None:
    def flickering(pixels: np.ndarray, _: int) -> np.ndarray:
        pixels = pixels.copy()
        pixels[64:192] = 0
        return pixels

    summary = replayed(flickering)
    assert summary.coverage == pytest.approx(0.5, abs=0.02)
    assert list(summary.uninspected_mm2_by_cause) == ["dark"]


def test_a_lamp_that_fails_slowly_is_noticed(replayed) -> None:
    def fading(pixels: np.ndarray, number: int) -> np.ndarray:
        pixels = pixels.copy()
        pixels[:, : 40 * number] = 2
        return pixels

    summary = replayed(fading)
    assert 0.9 < summary.coverage < 0.97
    assert list(summary.uninspected_mm2_by_cause) == ["narrow"]
