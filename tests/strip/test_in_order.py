"""A camera's messages in the order of its decisions, however a subscriber gives them."""

import random
from collections import deque

import numpy as np
import pytest
import wide_strip

from linewatch.client import Loss, Lost
from linewatch.strip.in_order import CameraDecision, InOrder
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import AnyMessage, CoilMessage, DefectMessage, Topic, decode


def messages(seed: int = 4) -> list[AnyMessage]:
    """Two coils with many defects, as one camera publishes them."""
    sequencer, found = Sequencer(3), []
    for coil in ("C1", "C2"):
        mask = wide_strip.blobs(np.random.default_rng(seed), 32 * 20, 60)
        for decided in wide_strip.told(mask, "top/cam1", (0, 100), coil=coil):
            found += sequencer.records(drafts(decided))
    return [decode(one.topic.encode(), one.header, one.payload) for one in found if one.topic != "alarm"]


def taken(order: InOrder, given: list[AnyMessage | Lost]) -> list[CameraDecision]:
    return [decision for message in given for decision in order.take(message)]


def flat(decisions: list[CameraDecision]) -> list[tuple[Topic, int]]:
    return [(one.topic, one.sequence) for decision in decisions for one in (decision.head, *decision.defects)]


def mixed(given: list[AnyMessage], dice: random.Random) -> list[AnyMessage]:
    """Each topic in its order, the topics in any."""
    topics = {topic: deque(one for one in given if one.topic == topic) for topic in {one.topic for one in given}}
    found = []
    while topics:
        name = dice.choice(sorted(topics))
        for _ in range(min(dice.randint(1, 30), len(topics[name]))):
            found.append(topics[name].popleft())
        if not topics[name]:
            del topics[name]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_topics_that_come_one_after_the_other_are_put_in_order(seed: int) -> None:
    """As after a restart, when gaps are filled topic by topic."""
    given = messages()
    wanted = [(one.topic, one.sequence) for one in given]
    found = taken(InOrder((0, -1), ended=True), mixed(given, random.Random(seed)))
    assert flat(found) == wanted
    assert all(decision.complete for decision in found)


def test_every_decision_comes_as_soon_as_it_is_whole() -> None:
    given = messages()
    order = InOrder((0, -1), ended=True)
    for message in given:
        for decision in order.take(message):
            whole = [*decision.head.defect_ids]
            assert [one.id for one in decision.defects] == whole
            last = decision.defects[-1] if whole else decision.head
            assert last is message


@pytest.mark.parametrize("known", [True, False], ids=["number known", "number not known"])
def test_defects_that_are_lost_make_their_frames_incomplete_and_hold_up_nothing(known: bool) -> None:
    given = messages()
    defects = [one for one in given if isinstance(one, DefectMessage)]
    lost = defects[5:9] if known else defects[5:]
    notice = Lost(Topic.DEFECT, 3, lost[0].sequence, lost[-1].sequence + 1 if known else None, "gone", Loss.GONE)
    gone = {id(one) for one in lost}
    left: list[AnyMessage | Lost] = [one for one in given if id(one) not in gone]
    left.insert(next(i for i, one in enumerate(given) if one is lost[0]), notice)
    found = taken(InOrder((0, -1), ended=True), left)
    heads = [one for one in given if not isinstance(one, DefectMessage)]
    assert [(one.head.topic, one.head.sequence) for one in found] == [(one.topic, one.sequence) for one in heads]
    hit = {(one.coil, one.ordinal) for one in lost}
    for decision in found:
        if not isinstance(decision.head, CoilMessage):
            assert decision.complete == ((decision.head.coil, decision.head.ordinal) not in hit)


def test_whoever_comes_late_begins_in_the_middle() -> None:
    given = messages()
    at = next(i for i, one in enumerate(given) if isinstance(one, DefectMessage) and one.ordinal == 9)
    found = taken(InOrder(), given[at:])
    assert flat(found)[0] == (Topic.FRAME, 10), "defects of a frame that was not heard are left out"
    assert all(decision.complete for decision in found)
