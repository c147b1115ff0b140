"""Intervals hold what they should as often as they say, draw groups whole, and know when they know nothing."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from linewatch.metrics import labels
from linewatch.metrics.intervals import binomial_interval, bounded, intervals, paired, poisson_interval, resamples
from linewatch.metrics.result import ClassMetrics, EvaluationResult, class_table, fold_spread, side_by_side


@given(st.lists(st.sampled_from(["frame a", "frame b", "c", "d"]), min_size=1), st.integers(0, 9))
def test_groups_are_drawn_whole(groups: list[str], seed: int) -> None:
    """Every draw holds each drawn group's samples together, all of them, as often as it was drawn."""
    named = np.array(groups)
    for indices in resamples(groups, 5, seed):
        times = np.bincount(indices, minlength=len(groups))
        for name in set(groups):
            assert len(set(times[named == name].tolist())) == 1
        assert sum(times[named == name][0] for name in set(groups)) == len(set(groups))


@pytest.mark.slow
def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Over 200 made experiments about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = rng.normal(0.3, 1, 60)
        low, high = intervals(lambda at, v=values: {"mean": v[at].mean()}, range(60), 200, seed)["mean"]
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 198


def test_alike_samples_in_one_group_widen_the_interval() -> None:
    """Ten copies of every sample tell no more than one: by group the interval stays as wide."""
    values = np.random.default_rng(1).random(30)
    copies = values.repeat(10)

    def width(of: np.ndarray, groups: np.ndarray) -> float:
        low, high = intervals(lambda at: {"mean": of[at].mean()}, groups)["mean"]
        return high - low

    assert width(copies, np.arange(30).repeat(10)) == pytest.approx(width(values, np.arange(30)))
    assert width(copies, np.arange(300)) < 0.5 * width(values, np.arange(30))


def test_the_seed_decides() -> None:
    """The same seed gives the same interval, another seed another."""
    values = np.random.default_rng(2).random(40)
    first, again, other = (intervals(lambda at: {"mean": values[at].mean()}, range(40), 50, seed) for seed in (5, 5, 6))
    assert first == again != other


def test_a_figure_that_most_draws_do_not_define_has_no_interval() -> None:
    """One group in twenty holds the class: a third of the draws miss it and count for nothing; where two thirds do,
    there is no interval; nor is there one of a single group.
    """

    def figures(at: np.ndarray) -> dict[str, float | None]:
        return {"often": 1.0 if 0 in at else None, "seldom": 1.0 if (at == 0).sum() > 1 else None}

    assert set(intervals(figures, range(20))) == {"often"}
    assert intervals(figures, [7] * 20) == {}


def test_no_error_seen_is_not_no_error() -> None:
    """100 groups all right: top-1 has the exact bound 0.05^(1/100), and what has no such bound no interval."""
    truth = np.arange(200) % 2
    found = labels.evaluate(np.eye(2)[truth], truth, ("a", "b"), groups=np.arange(200) // 2, draws=20)
    assert found.top1 == 1
    assert found.intervals["top1"] == pytest.approx((0.05**0.01, 1))
    assert "f1" not in found.intervals


def test_paired_difference_sees_what_two_intervals_do_not() -> None:
    """A small steady gain over very different images: surely above zero, though the networks' spreads overlap."""
    rng = np.random.default_rng(3)
    first = rng.random(60)
    second = first + rng.normal(0.02, 0.02, 60)
    found = paired(first, second)
    assert found.interval is not None
    assert found.interval[0] > 0
    assert found.difference == pytest.approx(np.mean(second - first))
    assert found.improved == np.mean(second > first)
    assert paired(first, first).improved == 0
    assert paired([0.5], [0.6]).interval is None


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.688879), (1, 0.0253178, 5.5716434), (7, 2.814363, 14.422675), (300, 267.009275, 335.941126)],
)
def test_poisson_intervals_are_those_of_the_tables(count, low, high):
    """Garwood's, by the chi-square quantiles."""
    assert poisson_interval(count) == pytest.approx((low, high), rel=1e-6)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 27, 0.0, 0.1277029),
        (3, 10, 0.0667395, 0.6524529),
        (10, 10, 0.6915029, 1.0),
        (400, 649, 0.5776898, 0.6539126),
    ],
)
def test_binomial_intervals_are_those_of_the_tables(hits, count, low, high):
    """Clopper and Pearson's, by the beta quantiles."""
    assert binomial_interval(hits, count) == pytest.approx((low, high), rel=1e-5)


def test_a_bounded_metric_has_an_interval_over_groups_or_none() -> None:
    """NAME_low and NAME_high hold the metric; a single group has no interval, no sample no metric."""
    values = np.random.default_rng(4).random(40)
    found = bounded("share", lambda at: float(values[at].mean()), np.arange(40) // 2)
    assert found["share_low"] < found["share"] < found["share_high"]
    assert bounded("share", lambda at: float(values[at].mean()), [1] * 40) == {"share": pytest.approx(values.mean())}
    assert bounded("share", lambda at: 0.0, []) == {}


def result_of(recall: float) -> EvaluationResult:
    return EvaluationResult(
        count=10,
        task="classify",
        classes=("rolled-in scale no. 2",),
        top1=0.5,
        per_class={"rolled-in scale no. 2": ClassMetrics(support=4, recall=recall, threshold=0.25)},
        recall_at_pass_rate={"0.10": 0.9},
        intervals={"top1": (0.25, 0.75)},
        paper={"top1": 0.979, "per_class.rolled-in scale no. 2.recall": 0.627, "f1": 0.5},
    )


def test_every_figure_has_a_name() -> None:
    """Dotted names reach figures of classes and of pass rates, whatever dots the class has."""
    found = result_of(0.75)
    assert found.metrics() == {
        "top1": 0.5,
        "recall_at_pass_rate.0.10": 0.9,
        "per_class.rolled-in scale no. 2.recall": 0.75,
    }
    assert found.metric("auc") is None
    for wrong in ("top2", "per_class.scratches.recall", "recall_at_pass_rate.0.2", "top1.x", "classes"):
        with pytest.raises(ValueError, match="no metric"):
            found.metric(wrong)
    with pytest.raises(ValueError, match="no metric 'accuracy'"):
        EvaluationResult(count=1, task="classify", classes=("a",), paper={"accuracy": 0.979})


def test_a_judgement_survives_json_and_takes_no_nan() -> None:
    """The JSON gives the judgement back; nan is refused."""
    found = result_of(0.75)
    assert EvaluationResult.model_validate_json(found.model_dump_json()) == found
    assert json.loads(found.model_dump_json())["mla"] is None
    with pytest.raises(ValueError, match="finite"):
        EvaluationResult(count=1, task="classify", classes=("a",), top1=float("nan"))


def test_tables_lay_the_paper_beside_what_was_measured() -> None:
    """Each row has the figure, the interval where there is one, and the paper's value, also for what we lack."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(side_by_side(result_of(0.75)))
    console.print(class_table(result_of(0.75)))
    told = console.export_text()
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]]
        for line in told.splitlines()
        if "│" in line
    }
    assert rows["top-1 accuracy"] == ["0.5000 (0.2500-0.7500)", "0.9790"]
    assert rows["recall at 10% of clean passed"] == ["0.9000", "-"]
    assert rows["rolled-in scale no. 2: recall"] == ["0.7500", "0.6270"]
    assert rows["F1, macro"] == ["-", "0.5000"]
    assert rows["rolled-in scale no. 2"][0] == "4"


def test_fold_spread_is_mean_and_deviation() -> None:
    """Over folds: mean and sample standard deviation of what all folds define."""
    found = fold_spread([result_of(0.5), result_of(0.7)])
    assert found["per_class.rolled-in scale no. 2.recall"] == pytest.approx((0.6, np.std([0.5, 0.7], ddof=1)))
    assert found["top1"] == (0.5, 0)


def test_a_class_without_a_sample_is_told_beside_a_top1_that_says_nothing_of_it() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    per_class = {name: ClassMetrics(support=support) for name, support in {"ok": 7, "dent": 0, "scale": 0}.items()}
    console.print(side_by_side(result_of(0.75).model_copy(update={"per_class": per_class, "paper": {}})))
    assert "no sample of dent, scale: the figures say nothing of that" in console.export_text()
