"""Operating points: limits that keep a budget of false calls where that leaves something."""

import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.false_calls import ship
from experiments.findings import CascadeFinding, Findings
from experiments.operating_point import (
    SLACK,
    USEFUL,
    CascadeMetrics,
    calls,
    choose,
)
from linewatch.contracts.manifest import CallLimit, EngineManifest, Task
from linewatch.metrics.intervals import Rate

MM2_PER_PX = 0.5
scores = st.sampled_from([0.2, 0.45, 0.55, 0.72, 0.88, 0.93, 0.975, 0.995])


def found(frame, confidence, peak=1.0, area_mm2=100.0, true=(), name="scratch"):
    return CascadeFinding(
        frame=frame, defect_class=name, confidence=confidence, peak=peak, area_mm2=area_mm2, tile=False, true=true
    )


def looked(*defects, clean, pieces=0, source="strip", area_m2=1.0, names=None):
    return Findings(
        source=source,
        fold=0,
        frames=tuple(names or (f"{number}.jpg" for number in range(len(clean)))),
        clean=clean,
        area_m2=area_m2,
        true=("scratch",) * pieces,
        found=defects,
    )


@st.composite
def strips(draw):
    """A clean frame and a defective one of several pieces, with defects of any sureness on both."""
    pieces = draw(st.integers(1, 12))
    areas = st.sampled_from([5.0, 40.0, 120.0, 700.0])
    false = [found(0, c, p, a) for c, p, a in draw(st.lists(st.tuples(scores, scores, areas), max_size=12))]
    right = [
        found(1, c, p, a, (n,))
        for c, p, a, n in draw(st.lists(st.tuples(scores, scores, areas, st.integers(0, pieces - 1)), max_size=20))
    ]
    return looked(*false, *right, clean=(True, False), pieces=pieces)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(strips(), st.sampled_from([0.0, 1000.0, 4000.0]))
def test_the_budget_is_kept_or_the_class_has_no_more_than_its_least_share(strip, budget):
    limits = choose([strip], ["scratch"], budget, MM2_PER_PX)
    judged = CascadeMetrics([(strip, limits)], MM2_PER_PX)
    everything = CascadeMetrics([(strip, {})], MM2_PER_PX).recall("strip")["all"].hits
    hits, rate = judged.recall("strip")["all"].hits, judged.false_calls("strip")["all"].per_1000_m2
    assert rate <= budget or hits >= USEFUL * everything > 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(strips())
def test_a_larger_budget_finds_no_less_but_for_the_slack(strip):
    everything = CascadeMetrics([(strip, {})], MM2_PER_PX).recall("strip")["all"].hits
    hits = [
        CascadeMetrics([(strip, choose([strip], ["scratch"], budget, MM2_PER_PX))], MM2_PER_PX)
        .recall("strip")["all"]
        .hits
        for budget in (4000.0, 8000.0, math.inf)
    ]
    assert hits[2] == everything
    usual = [one for one in hits[:2] if one >= USEFUL * everything]
    assert usual == hits[:2]
    assert hits[1] >= hits[0] - SLACK * everything


def test_where_true_and_false_can_be_told_apart_nothing_is_lost():
    strip = looked(found(0, 0.6), found(1, 0.93, true=(0,)), clean=(True, False), pieces=1)
    limits = choose([strip], ["scratch"], 0.0, MM2_PER_PX)
    judged = CascadeMetrics([(strip, limits)], MM2_PER_PX)
    assert judged.false_calls("strip")["all"].count == 0
    assert judged.recall("strip")["all"].hits == 1


def test_a_frame_with_a_wrong_label_does_not_choose_but_is_judged():
    strip = looked(
        found(0, 0.97), found(1, 0.6, true=(0,)), clean=(True, False), pieces=1, names=("0d1b42754.jpg", "b.jpg")
    )
    limits = choose([strip], ["scratch"], 0.0, MM2_PER_PX)
    judged = CascadeMetrics([(strip, limits)], MM2_PER_PX)
    assert judged.recall("strip")["all"].hits == 1
    assert judged.false_calls("strip")["all"] == Rate(1, 1.0)
    assert judged.false_calls("strip", mislabelled=False)["all"] == Rate(0, 0.0)


def test_a_piece_counts_once_however_many_defects_lie_on_it():
    strip = looked(found(0, 0.9, true=(0,)), found(0, 0.9, true=(0, 1)), clean=(False,), pieces=3)
    share = CascadeMetrics([(strip, {})], MM2_PER_PX).recall("strip")["scratch"]
    assert (share.hits, share.count) == (2, 3)


def test_limits_are_of_the_called_class():
    limit = {"scratch": CallLimit(confidence=0.9)}
    assert not calls(found(0, 0.8), limit, MM2_PER_PX)
    assert calls(found(0, 0.8, name="sliver"), limit, MM2_PER_PX)


def test_limits_are_shipped_to_the_classifier_and_its_siblings_alone(tmp_path):
    shutil.copytree("engines", tmp_path / "engines", ignore=shutil.ignore_patterns("*.onnx", "*.png"))
    classes = EngineManifest.model_validate_json(Path("engines/classify/manifest.json").read_bytes()).classes
    limits = {name: CallLimit(confidence=0.5, peak=0.9, area_px=number) for number, name in enumerate(classes)}
    assert ship(limits, tmp_path / "engines") == ["classify", "classify-int8", "classify-uint8"]
    for path in sorted((tmp_path / "engines").glob("*/manifest.json")):
        manifest = EngineManifest.model_validate_json(path.read_bytes())
        before = EngineManifest.model_validate_json(Path("engines", *path.parts[-2:]).read_bytes())
        wanted = limits if manifest.task is Task.CLASSIFY else {}
        assert manifest == before.model_copy(update={"call_limits": wanted})


def test_limits_must_be_of_every_class_or_none():
    told = EngineManifest.model_validate_json(Path("engines/classify/manifest.json").read_bytes()).model_dump()
    with pytest.raises(ValidationError, match="one for each class"):
        EngineManifest.model_validate(told | {"call_limits": {"scratch": {"confidence": 0.5}}})
