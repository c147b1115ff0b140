"""What several cameras tell of a strip becomes one record, whatever the order in which they are heard."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from known_strip import alarms, events, notices, verdicts
from wide_strip import (
    EDGES,
    FRAME_LINES,
    GAP_MM,
    VIEWS,
    WIDTH_PX,
    blobs,
    by_cameras,
    final,
    joined,
    recorded,
    settings,
    told,
)

from linewatch.contracts.errors import ConfigError, WireError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import DefectState, Quality, Verdict
from linewatch.config.load import checked
from linewatch.decision.coverage import CoverageSums
from linewatch.strip.join import Joiner
from linewatch.strip.settings import StripSettings
from linewatch.wire.verdict_file import line_of

STRIP = settings()
ONE_SIDE = settings(("top",))
SEEDS = st.integers(0, 2**32 - 1)


def figures(decided):
    """Each defect that was found, by what must not depend on the number of cameras."""
    return Counter(
        (e.defect.side, e.defect.box, round(e.defect.area_mm2, 2), e.defect.defect_class)
        for e in final(decided)
    )


def covered(decided):
    """The sum over the coil's frames: (inspected, degraded, missed) mm2."""
    areas = [span.area for one in verdicts(decided) for span in one.spans]
    return tuple(round(sum(getattr(a, name) for a in areas), 1) for name in ("inspected_mm2", "degraded_mm2", "missed_mm2"))


@given(SEEDS)
@hypothesis_settings(max_examples=6, deadline=None)
def test_three_cameras_find_what_one_that_sees_all_finds(seed: int) -> None:
    mask = blobs(np.random.default_rng(seed), 300, 30)
    found = joined(ONE_SIDE, by_cameras(mask, ONE_SIDE))
    whole = recorded(told(mask, "top/wide", (0, WIDTH_PX)))
    assert figures(found) == figures(whole)
    assert covered(found) == covered(whole) == ((EDGES[1] - EDGES[0]) * 300.0, 0.0, 0.0)
    assert found[-1].area == whole[-1].area
    assert found[-1].defects_by_class == whole[-1].defects_by_class


@given(SEEDS, st.lists(st.integers(0, 5), max_size=120))
@hypothesis_settings(max_examples=6, deadline=None)
def test_the_record_does_not_depend_on_who_is_heard_first(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    sides = {side: blobs(rng, 200, 15) for side in ("top", "bottom")}
    failed = set(rng.integers(0, 7, 2).tolist())
    seen = by_cameras(sides, STRIP, failed=failed)
    seen[1] = replace(seen[1], decided=seen[1].decided[3:])  # it missed the start
    in_turn = [line_of(one) for one in joined(STRIP, seen)]
    assert [line_of(one) for one in joined(STRIP, seen, order)] == in_turn
    camera_by_camera = [at for at in range(6) for _ in range(20)]
    assert [line_of(one) for one in joined(STRIP, seen, camera_by_camera)] == in_turn
