"""Contrast: a dark defect on brighter steel, wherever it lies, whatever lies beside it."""

import numpy as np
import pytest
from known_strip import RULES, cut_strip, predict, run, verdicts

from linewatch.contracts.frame import StripEdges
from linewatch.decision.defects.contrast import ContrastSums, contrast_sums
from linewatch.geometry.runs import rectangle


def _shown(gray: np.ndarray, **more):  # type: ignore[no-untyped-def]
    prediction = predict(np.zeros(gray.shape, np.uint8), **more)
    gray.flags.writeable = False  # as the ring's slots are
    object.__setattr__(prediction.frame, "pixels", gray)
    return prediction


def test_a_dark_mark_is_as_much_darker_as_it_is_and_its_neighbour_does_not_count() -> None:
    gray = np.full((60, 200), 150, np.uint8)
    mark, neighbour = rectangle(50, 10, 60, 30), rectangle(63, 12, 70, 28)
    gray[10:30, 50:60] = 99
    gray[12:28, 63:70] = 252
    prediction = _shown(gray)
    dark, bright = contrast_sums(
        np.concatenate([mark, neighbour]), np.array([0, len(mark)]), prediction.frame, prediction.edges
    )
    assert dark.contrast == pytest.approx((99 - 150) / 255)
    assert bright.contrast == pytest.approx((252 - 150) / 255)
    assert dark.inside == 99 * 200


def test_what_lies_beside_the_strip_or_below_the_valid_lines_is_no_steel() -> None:
    gray = np.full((60, 200), 150, np.uint8)
    gray[:, :40] = 0
    gray[40:] = 0
    gray[20:40, 40:50] = 100
    prediction = _shown(gray, edges=StripEdges(40, 200, True, False), valid_lines=40)
    (sums,) = contrast_sums(rectangle(40, 20, 50, 40), np.array([0]), prediction.frame, prediction.edges)
    assert sums.contrast == pytest.approx(-50 / 255)


def test_a_defect_that_fills_all_steel_has_no_contrast() -> None:
    prediction = _shown(np.full((20, 30), 90, np.uint8))
    (sums,) = contrast_sums(rectangle(0, 0, 30, 20), np.array([0]), prediction.frame, prediction.edges)
    assert sums.contrast is None
    assert contrast_sums(rectangle(0, 0, 3, 2), np.array([0]), predict(np.zeros((20, 30), np.uint8)).frame, None) == [
        ContrastSums()
    ]


def test_tones_add_up_over_frames() -> None:
    probability = np.zeros((100, 80), np.uint8)
    probability[20:80, 30:40] = 200
    predictions = cut_strip(probability, [50])
    for prediction, level in zip(predictions, (100, 60), strict=True):
        gray = np.full((50, 80), 120, np.uint8)
        gray[:, 30:40] = level
        object.__setattr__(prediction.frame, "pixels", gray)
    (*_, last) = [event for verdict in verdicts(run(predictions, RULES)) for event in verdict.defects]
    assert last.defect.contrast == pytest.approx((80 - 120) / 255, abs=0.02)
