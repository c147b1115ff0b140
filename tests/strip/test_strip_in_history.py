"""The history keeps the record of a strip as it keeps a camera's: put right, with the side of each defect."""

import numpy as np
import pytest
from stored_coils import messages_of, store_messages
from wide_strip import WIDTH_PX, by_cameras, heard, settings

from linewatch.contracts.verdict import Quality
from linewatch.history.database import reading, writing
from linewatch.history.queries import coils
from linewatch.review.from_history import read_passage


def test_a_strip_is_stored_put_right_and_with_its_sides(tmp_path) -> None:
    strip = settings(strip={**settings().strip.model_dump(), "wait_s": 0.2})
    mask = np.zeros((320, WIDTH_PX), np.uint8)
    mask[100:106, 110:120] = 255
    told = heard(strip, by_cameras(mask, strip), "top/cam2", 3, 8)
    assert any(getattr(one, "corrections", ()) for one in told)
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    with writing(url) as engine:
        messages = messages_of(*told)
        for at in range(0, len(messages), 7):
            store_messages(engine, messages[at : at + 7])
    with reading(url) as connection:
        (row,) = coils(connection)
        record = read_passage(connection, row.passage)
    (span,) = record.spans
    assert (span.quality, span.lines) == (Quality.INSPECTED, 320)
    assert span.area.inspected_mm2 == pytest.approx(told[-1].area.inspected_mm2)
    assert (row.inspected_mm, row.missed_mm) == pytest.approx((320.0, 0.0))
    assert sorted(one.side for one in record.defects) == ["bottom", "top"]
