"""Whatever is predicted, the decision's stage goes on, and the frame's lines are accounted for."""

from dataclasses import replace
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import pytest
from known_strip import RULES, predict
from structlog.testing import capture_logs

from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.restart import GapMeasure, SourcePlace, StripGap
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Quality, Verdict
from linewatch.daemon.newest_picture import NewestPictureMaker
from linewatch.daemon.stages.decision import DecisionStage
from linewatch.daemon.stages.wiring import END, Output, Wiring
from linewatch.daemon.totals import Totals
from linewatch.decision.decide import DecisionState
from linewatch.decision.fallback import undecided
from linewatch.wire.encode import Sequencer, drafts


class NoOrders:
    """Nobody orders anything."""

    def close(self) -> None: ...


def through_the_stage(*predictions: Prediction) -> list[Decided]:
    """Return what the stage gives for these predictions."""
    takes: SimpleQueue[Any] = SimpleQueue()
    gives: SimpleQueue[Any] = SimpleQueue()
    for one in (*predictions, END):
        takes.put(one)
    stage = DecisionStage(
        DecisionState.initial(),
        lambda _: RULES,  # type: ignore[arg-type]
        lambda _: None,
        Totals(),
        MonotonicClock(),
        NoOrders(),  # type: ignore[arg-type]
        lambda: None,
        None,
        lambda: False,
        NewestPictureMaker(MonotonicClock()),
    )
    abort = Event()
    out = Output(gives, 1, lambda: None, abort)
    stage.run(Wiring(0, takes, (out,), lambda: None, abort, Event(), lambda: None))
    found = []
    while (item := gives.get_nowait()) is not END:
        found.extend(item)
    return found


def frames(change: dict[str, Any]) -> list[Prediction]:
    """Return three frames of a strip with one defect, the second of which is changed."""
    picture = np.zeros((64, 128), np.uint8)
    picture[20:40, 30:60] = 255
    made = [predict(picture, first_line=64 * number, ordinal=number, tile_width=64) for number in range(3)]
    made[1] = replace(made[1], **change)
    return made


ODD: dict[str, dict[str, Any]] = {
    "too few rows of scores": {"class_scores": np.zeros((1, 3), np.float32)},
    "scores of another number of classes": {"class_scores": np.full((2, 9), 0.9, np.float32)},
    "masks of another size": {"probability": np.full((2, 8, 8), 255, np.uint8)},
    "masks of another kind": {"probability": None},
    "fewer flags than tiles": {"passed": np.ones(1, bool)},
    "no scores of the screen": {"screen_scores": None},
    "classes without names": {"classes": (None, "\0", "x" * 100_000)},
    "a class that no rule knows": {"classes": ("a", "b", "c")},
    "edges of another kind": {"edges": (0, 128)},
    "tiles beyond the frame": {"tiles": ("a", "b")},
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_prediction_costs_its_own_frame_at_most(change: dict[str, Any]) -> None:
    with capture_logs() as logs:
        decided = through_the_stage(*frames(change))
    verdicts = [one for one in decided if isinstance(one, Verdict)]
    assert [one.ordinal for one in verdicts] == [0, 1, 2]
    spans = [span for one in verdicts for span in one.spans]
    assert [(span.first_line, span.lines) for span in spans] == [(0, 64), (64, 64), (128, 64)]
    assert (spans[0].quality, spans[2].quality) == (Quality.INSPECTED, Quality.INSPECTED)
    if spans[1].quality is not Quality.INSPECTED:
        assert (spans[1].quality, spans[1].cause) == (Quality.MISSED, Cause.UNTOLD)
        assert [line["event"] for line in logs] == ["frame_not_decided"]
        (ended,) = [one for one in decided if isinstance(one, CoilNotice) and one.state is CoilState.ENDED]
        assert (ended.inspected_mm, ended.missed_mm) == (128.0, 64.0)


def test_it_is_the_odd_ones_that_are_missed() -> None:
    missed = {
        name
        for name, change in ODD.items()
        for one in through_the_stage(*frames(change))
        if isinstance(one, Verdict) and one.spans[0].cause is Cause.UNTOLD
    }
    assert {"masks of another size", "masks of another kind", "no scores of the screen"} <= missed


def test_a_frame_that_no_rule_can_decide_is_missed_all_the_same() -> None:
    odd = frames({})
    odd[1] = replace(odd[1], frame=replace(odd[1].frame, coil=None))  # type: ignore[arg-type]
    verdicts = [one for one in through_the_stage(*odd) if isinstance(one, Verdict)]
    assert [one.ordinal for one in verdicts] == [0, 1, 2]
    assert Sequencer(1).records(drafts(verdicts[0]))


def test_what_a_restart_cost_is_told_of_a_frame_that_cannot_be_decided_too() -> None:
    gap, place = StripGap(2.0, 64, 64.0, GapMeasure.ENCODER), SourcePlace(17, 64)
    prediction = frames({})[0]
    told = undecided(replace(prediction, frame=replace(prediction.frame, gap=gap, place=place)))
    assert (told.gap, told.place) == (gap, place)
