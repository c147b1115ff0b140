"""What is normal on a line lowers what is common there, and nothing else."""

import numpy as np
import pytest
from pydantic import ValidationError

from linewatch.contracts.normal import (
    MOST_INSTANCES,
    MOST_LEARNED,
    TRAITS,
    Drift,
    LearnedStrip,
    LineOfNormal,
    NormalModel,
    NormalReference,
    NormalStrip,
    coreset,
)
from linewatch.contracts.probability import log_odds

LINE = LineOfNormal(side="top", camera="cam1", width_px=1600, mm_per_px=0.5, mm_per_line=1.0)
BAR = np.array([[0.5, 2.0, 1.0, 0.3, 4.0, -1.0]])
"""The raised bar of a tread plate, say: log-odds 0.5 and its traits."""
SCRATCH = np.array([[0.5, -2.0, -3.0, 1.3, 2.0, 3.0]])


def _strip(points: np.ndarray, frames: float) -> NormalStrip:
    return NormalStrip.of(points, frames)


def _learned(told: int = 3) -> LearnedStrip:
    return LearnedStrip(learned_unix_ns=1, source="a", m2=2.0, told=told, told_still=told)


def _model(on_line: np.ndarray, elsewhere: np.ndarray, frames: float = 10.0) -> NormalModel:
    reference = NormalReference(probability="1", spreads=dict.fromkeys(TRAITS, 1.0), strip=_strip(elsewhere, 50.0))
    return NormalModel(
        line=LINE, engine="inspect", reference=reference, strip=_strip(on_line, frames), learned=(_learned(),)
    )


def _unlike(model: NormalModel, point: np.ndarray) -> float:
    return float(model.unlike_normal(point[:, 0], point[:, 1:])[0])


def test_what_the_lines_clean_strip_is_full_of_loses_most_of_its_odds():
    model = _model(on_line=BAR.repeat(20, axis=0), elsewhere=SCRATCH)
    assert _unlike(model, BAR) < -3
    assert _unlike(model, SCRATCH) == pytest.approx(0.0, abs=0.05)


def test_what_is_as_common_on_other_strip_keeps_its_odds():
    model = _model(on_line=BAR.repeat(2, axis=0), elsewhere=BAR.repeat(10, axis=0))  # one in five frames on both
    assert _unlike(model, BAR) == pytest.approx(0.0, abs=1e-6)


def test_strip_that_is_cleaner_than_other_strip_raises_nothing():
    model = _model(on_line=np.empty((0, 6)), elsewhere=BAR.repeat(100, axis=0))
    assert _unlike(model, BAR) == 0.0


def test_one_overlooked_defect_on_much_clean_strip_takes_little_from_the_next():
    few, much = (_model(on_line=SCRATCH, elsewhere=BAR, frames=frames) for frames in (5.0, 1000.0))
    assert _unlike(much, SCRATCH) > -0.1
    assert _unlike(few, SCRATCH) < -1


def test_spreads_scale_the_traits():
    model = _model(on_line=BAR.repeat(20, axis=0), elsewhere=SCRATCH)
    wide = model.model_copy(
        update={"reference": model.reference.model_copy(update={"spreads": dict.fromkeys(TRAITS, 100.0)})}
    )
    assert _unlike(wide, BAR) > _unlike(model, BAR) + 1  # 2.0 is now 0.02, far from the rows kept at 2.0


def test_a_coreset_keeps_the_extent_and_every_count():
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(0, 0.1, (5000, 6)), np.full((1, 6), 30.0)])
    kept, counts = coreset(points, np.ones(len(points)), MOST_INSTANCES)
    assert len(kept) == len(counts) <= MOST_INSTANCES
    assert counts.sum() == pytest.approx(5001)
    assert 5000 in kept  # the one far from all others


def test_equal_instances_fill_no_memory():
    strip = _strip(BAR.repeat(3000, axis=0), 1.0)
    assert len(strip.instances) == 1
    assert strip.density(BAR)[0] == pytest.approx(3000)


def test_a_full_memory_tells_densities_as_all_instances_would():
    rng = np.random.default_rng(5)
    points = rng.normal(0, 1, (4000, 6))
    exact = NormalStrip(frames=4.0, instances=tuple(map(tuple, points.tolist())), counts=(1.0,) * len(points)).density(
        points[:50]
    )
    assert _strip(points, 4.0).density(points[:50]) == pytest.approx(exact, rel=0.35)


def test_learning_adds_strip_and_is_bounded():
    model = _model(on_line=BAR, elsewhere=SCRATCH)
    more = model.learning(_strip(SCRATCH.repeat(5, axis=0), 3.0), _learned())
    assert (more.version, more.strip.frames, len(more.learned)) == (2, 13.0, 2)
    assert more.strip.density(SCRATCH)[0] == pytest.approx(5 / 13)
    for _ in range(MOST_LEARNED + 3):
        more = more.learning(_strip(np.random.default_rng(1).normal(0, 9, (300, 6)), 1.0), _learned())
    assert len(more.learned) == MOST_LEARNED
    assert len(more.strip.instances) <= MOST_INSTANCES


def test_a_written_model_reads_back():
    model = _model(on_line=BAR, elsewhere=SCRATCH)
    again = NormalModel.model_validate_json(model.model_dump_json())
    assert again == model
    assert _unlike(again, BAR) == _unlike(model, BAR)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"instances": ((1.0, 2.0),), "counts": (1.0,)}, "numbers"),
        ({"instances": (tuple(BAR[0]),), "counts": ()}, "counts"),
        ({"instances": ((float("nan"),) * 6,), "counts": (1.0,)}, "finite"),
    ],
)
def test_a_damaged_strip_is_refused(damage, says):
    with pytest.raises(ValidationError, match=says):
        NormalStrip(frames=1.0, **damage)


def test_log_odds_are_bounded():
    assert log_odds(0.5) == 0.0
    assert np.isfinite([log_odds(0.0), log_odds(1.0)]).all()


def test_drift_compares_the_newest_strip_with_those_that_a_model_has_judged():
    model = _model(on_line=BAR, elsewhere=SCRATCH)
    assert Drift.of(model) == Drift(1.5, 1.5, None)  # 3 on 2 m2
    second = model.learning(_strip(BAR, 1.0), _learned(4).model_copy(update={"told_still": 1}))
    assert Drift.of(second) == Drift(2.0, 0.5, None)
    third = second.learning(_strip(BAR, 1.0), _learned(6).model_copy(update={"told_still": 2}))
    assert Drift.of(third) == Drift(3.0, 1.0, 0.5)
