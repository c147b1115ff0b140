"""Alarms about the picture: raised and ended by metres of strip, over the ends of coils, and coverage beside them."""

from dataclasses import replace

import pytest
from known_strip import RULES, notices, paint, predict, run, verdicts

from linewatch.config.decision import SystemAlarmSettings
from linewatch.contracts.alarm import AlarmChange
from linewatch.contracts.frame import Cause, StripEdges
from linewatch.contracts.picture import PictureHealth, PictureQuantity, PictureReading, PictureReference
from linewatch.contracts.verdict import Quality
from linewatch.decision.alarms.picture import PICTURE_ALARMS, picture_text
from linewatch.decision.coverage import spans_of

Q = PictureQuantity
STRIP = paint(32, 64)


def health(strip_m, **values):
    readings = {
        "light": (0.75, False),
        "gray": (40.0, False),
        "sharpness": (0.2, False),
        "edge_sharpness": (0.5, False),
        "frozen": (0.1, True),
    }
    told = [
        PictureReading(Q(name), values.get(name), limit, 0.1 * limit, high=high)
        for name, (limit, high) in readings.items()
    ]
    return PictureHealth(tuple(told), PictureReference.FIRST_METRES, 1, strip_m * 1000)


def shown(healths, coils=None, settings=None):
    """Decide a frame with each of these healths; return its alarms' transitions as (frame, rule, change)."""
    rules = replace(RULES, system_alarms=settings or SystemAlarmSettings(coverage_below=None, picture_delay_m=20.0))
    predictions = []
    for number, one in enumerate(healths):
        prediction = predict(STRIP, first_line=32 * number, ordinal=number, coil=(coils or {}).get(number, "A"))
        predictions.append(replace(prediction, frame=replace(prediction.frame, picture=one)))
    decided = run(predictions, rules)
    told = [(verdict.ordinal, alarm) for verdict in verdicts(decided) for alarm in verdict.alarms]
    assert not [alarm for notice in notices(decided) for alarm in notice.alarms]
    return [(number, alarm.rule, alarm.change) for number, alarm in told], [alarm for _, alarm in told]


def test_an_alarm_about_the_picture_has_delays_and_a_deadband_and_outlasts_the_coil():
    lights = [0.9, 0.74, 0.9, 0.74, 0.74, 0.74, None, 0.78, 0.78, 0.9, 0.9, 0.9, 0.9]
    healths = [None if light is None else health(10.0 * at, light=light) for at, light in enumerate(lights)]
    changes, alarms = shown(healths, coils=dict.fromkeys(range(6, len(lights)), "B"))
    assert changes == [(5, "light-low", AlarmChange.ACTIVE), (11, "light-low", AlarmChange.INACTIVE)]
    assert "74% of the light is left" in alarms[0].text


def test_where_the_edge_is_sharp_smooth_strip_is_not_blurred():
    def changes(**values):
        return shown([health(10.0 * at, **values) for at in range(5)])[0]

    assert [rule for _, rule, _ in changes(sharpness=0.12)] == ["picture-blurred"]
    assert [rule for _, rule, _ in changes(sharpness=0.12, edge_sharpness=0.35)] == ["picture-blurred"]
    assert changes(sharpness=0.12, edge_sharpness=0.62) == []
    assert changes(sharpness=0.5, edge_sharpness=0.35) == []
    assert changes() == []


def test_an_alarm_about_the_picture_can_be_switched_off():
    settings = SystemAlarmSettings(coverage_below=None, picture_delay_m=0.0, off=("picture-frozen",))
    changes, _ = shown([health(10.0 * at, frozen=0.9, gray=20.0) for at in range(3)], settings=settings)
    assert [rule for _, rule, _ in changes] == ["light-low"]


@pytest.mark.parametrize("name", PICTURE_ALARMS)
def test_every_alarm_about_the_picture_has_a_text_for_each_of_its_figures(name):
    for quantity in PICTURE_ALARMS[name][1]:
        reading = PictureReading(quantity, 0.5, limit=1.0, deadband=0.0, place="400 to 450 mm")
        told = picture_text(name, PictureHealth((reading,), PictureReference.CALIBRATION, 1, 0.0), active=False)
        assert told is not None
        assert told[0]
        assert told[1]


def test_doubtful_strip_is_degraded_and_dirty_columns_are_missed():
    prediction = predict(STRIP)
    edges = StripEdges(0, 64, False, False)
    (sound,) = spans_of(replace(prediction, edges=edges))
    assert sound.quality is Quality.INSPECTED
    (blurred,) = spans_of(replace(prediction, edges=replace(edges, doubt=Cause.BLURRED)))
    assert (blurred.quality, blurred.cause) == (Quality.DEGRADED, Cause.BLURRED)
    assert blurred.area.inspected_mm2 == 0
    assert blurred.area.degraded_mm2 == sound.area.inspected_mm2
    dirty = replace(edges, dirty_columns=((10, 26),))
    (missed,) = spans_of(replace(prediction, edges=dirty, scored_px=prediction.scored_px * 48 // 64))
    assert (missed.quality, missed.cause) == (Quality.DEGRADED, Cause.DIRTY)
    assert missed.area.missed_mm2 == pytest.approx(sound.area.inspected_mm2 / 4)


def test_a_defect_goes_on_over_doubtful_strip():
    """A scratch in blurred strip is one defect, since all of it was looked at."""
    scratch = [predict(paint(32, 64, (0, 32, 30, 34)), first_line=32 * at, ordinal=at) for at in range(3)]
    blurred = [replace(one, edges=replace(one.edges, doubt=Cause.BLURRED)) for one in scratch]
    assert sum(dict(notices(run(blurred))[-1].defects_by_class).values()) == 1
