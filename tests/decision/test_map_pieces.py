"""Pieces of a frame that one engine inspected as a whole: connected cells of its maps, outlined at pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from known_strip import events, instances, run
from mapped_strip import CLASSES, MAP_RULES, mapped, maps_of

from linewatch.contracts.evidence import EVIDENCE, evidence_names
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.probability import EvidenceWeight, ProbabilityModel
from linewatch.contracts.verdict import Extent
from linewatch.decision.defects.components import find_pieces
from linewatch.decision.defects.evidence import evidence_of
from linewatch.decision.defects.map_pieces import LEAST_CELLS

ROWS, COLUMNS = 16, 64


def plane(*parts: tuple[int, int, int, int, float]) -> np.ndarray:
    """Cells of `value` on rows [top, bottom), columns [left, right)."""
    made = np.zeros((ROWS, COLUMNS))
    for top, bottom, left, right, value in parts:
        made[top:bottom, left:right] = value
    return made


def found(probability: np.ndarray, rules=MAP_RULES, **kwargs):
    return find_pieces(mapped(maps_of(probability), **kwargs), rules)


def boxes(pieces) -> list[tuple[int, int, int, int]]:
    return list(zip(pieces.left, pieces.top, pieces.right, pieces.bottom, strict=True))


def test_a_piece_is_the_cells_that_reach_the_threshold():
    pieces = found(plane((4, 8, 10, 20, 0.8)))
    assert len(pieces) == 1
    (cells,) = pieces.cells
    assert cells.tolist() == [[row, 10, 20] for row in range(4, 8)]
    (box,) = boxes(pieces)
    assert np.abs(np.array(box) - [40, 16, 80, 32]).max() <= 2  # where plane 1 at pixels reaches the threshold
    assert pieces.peak.tolist() == [round(0.8 * 255)]


def test_a_gap_of_a_cell_is_joined_and_a_wider_one_is_not():
    apart = [len(found(plane((4, 8, 10, 16, 0.9), (4, 8, 16 + gap, 24, 0.9)))) for gap in (1, 2, 3)]
    assert apart == [1, 2, 2]


def test_fewer_cells_than_three_are_no_piece():
    assert len(found(plane((4, 5, 10, 10 + LEAST_CELLS, 0.9)))) == 1
    assert len(found(plane((4, 5, 10, 10 + LEAST_CELLS - 1, 0.9)))) == 0


def test_a_faint_piece_is_found_where_no_strong_one_is():
    level = MAP_RULES.defect_threshold_u8 / 255
    strong = (4, 8, 10, 14, 0.9)
    halo, faint, nothing = (2, 10, 8, 16, 0.6 * level), (4, 8, 40, 46, 0.3 * level), (4, 8, 54, 58, 0.2 * level)
    pieces = found(plane(halo, strong, faint, nothing))
    assert [cells[0].tolist() for cells in pieces.cells] == [[4, 10, 14], [4, 40, 46]]


def test_class_scores_are_the_shares_of_its_cells_weighted_by_plane_1():
    probability = plane((4, 8, 10, 14, 0.9), (4, 8, 14, 16, 0.45))
    shares = np.zeros((len(CLASSES), ROWS, COLUMNS))
    shares[2], shares[0, :, 14:], shares[2, :, 14:] = 1.0, 1.0, 0.0
    (defect,) = instances(run([mapped(maps_of(probability, shares))], MAP_RULES))
    assert defect.defect_class == "scratch"
    assert defect.confidence == pytest.approx(16 * 0.9 / (16 * 0.9 + 8 * 0.45))
    assert dict(defect.class_scores)["torn_spot"] == pytest.approx(1 - defect.confidence)
    assert defect.extent is Extent.MASK


def test_only_the_strip_within_the_valid_lines_counts():
    edges = StripEdges(42, 230, True, True)
    pieces = found(plane((0, ROWS, 0, COLUMNS, 0.9)), edges=edges, valid_lines=50)
    assert boxes(pieces) == [(42, 0, 230, 50)]
    assert len(found(plane((13, 16, 0, COLUMNS, 0.9)), edges=edges, valid_lines=50)) == 0


def model(**weights: float) -> ProbabilityModel:
    evidence = {name: EvidenceWeight(mean=0.0, spread=1.0, weight=weight) for name, weight in weights.items()}
    return ProbabilityModel(
        intercept=0.0, evidence=evidence, tell_probability=0.1, call_probability=0.6, fitted_on="nothing", version="0"
    )


@given(
    arrays(
        np.float32,
        (2 + len(CLASSES), 12, 40),
        elements=st.floats(width=32) | st.floats(0, 1, width=32),
        fill=st.just(0.0),
    ),
    st.integers(0, 48),
    st.tuples(st.integers(0, 160), st.integers(0, 160)),
    st.floats(0, 8),
    st.sampled_from([None, model(peak=1.0, area=-0.3, contrast=2.0, score_scratch=1.0)]),
)
def test_whatever_the_maps_say_pieces_evidence_and_probability_are_finite_and_repeat(maps, valid, sides, gap, judge):
    rng = np.random.default_rng(valid)
    pixels = rng.integers(0, 256, (48, 160), dtype=np.uint8)
    pixels[valid:] = 0
    edges = StripEdges(min(sides), max(sides), False, False)
    rules = replace(MAP_RULES, merge_gap_mm=gap, probability_model=judge)
    prediction = mapped(maps, pixels=pixels, edges=edges, valid_lines=valid)
    pieces = find_pieces(prediction, rules)
    assert np.isfinite(pieces.scores).all()
    assert np.isfinite(pieces.weight).all()
    assert (pieces.weight > 0).all()
    assert (pieces.counts >= 1).all()
    assert pieces.counts.sum() == len(pieces.runs)
    covered = np.zeros((48, 160), int)
    for line, start, stop in pieces.runs.tolist():
        covered[line, start:stop] += 1
    assert covered.max(initial=0) <= 1  # no pixel is in two pieces
    assert not covered[valid:].any()
    assert not covered[:, : edges.left_px].any()
    assert not covered[:, edges.right_px :].any()
    evidence = evidence_of(pieces, prediction, rules, np.zeros(len(pieces)))
    assert evidence.shape == (len(pieces), len(EVIDENCE) + len(CLASSES))
    assert np.isfinite(evidence).all()
    decided = run([prediction], rules)
    for defect in instances(decided):
        assert 0.0 <= defect.probability <= 1.0
        assert tuple(name for name, _ in defect.evidence) == tuple(sorted(evidence_names(CLASSES)))
        assert defect.tentative == (defect.probability < rules.call_probability)
    assert repr(events(run([prediction], rules))) == repr(events(decided))


def test_more_pieces_than_are_kept_become_one_widespread_defect():
    rng = np.random.default_rng(3)
    maps = maps_of((rng.random((64, 400)) < 0.2) * 0.9)
    pieces = found(maps[1], replace(MAP_RULES, merge_gap_mm=0.0))
    assert 1 <= len(pieces) <= 256
    assert sum(cells[:, 2].sum() - cells[:, 1].sum() for cells in pieces.cells) <= (maps[1] > 0).sum()
