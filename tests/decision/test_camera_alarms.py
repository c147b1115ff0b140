"""Delays, deadband, groups, floods, operators and the host: what is told of an alarm, and when."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import RULES, alarms, cut_strip, paint, predict, run, verdicts
from pydantic import ValidationError

from linewatch.config.decision import AlarmRule, AlarmSettings, SystemAlarmSettings
from linewatch.contracts.alarm import (
    AlarmAction,
    AlarmChange,
    AlarmCommand,
    AlarmOrder,
    AlarmState,
    HostState,
    Priority,
    ShelvingState,
)
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import RollMark, RollMarkState, RollSuspect
from linewatch.decision.alarms.camera_alarms import Alarms, follow_verdict, start_coil
from linewatch.decision.decide import DecisionState, carry_out, decide, finish, follow_host

LINES = 16
MINUTE_NS = 60_000_000_000
ON, OFF, ACK, SH, UN, SUP, UNSUP = (
    AlarmChange.ACTIVE,
    AlarmChange.INACTIVE,
    AlarmChange.ACKNOWLEDGED,
    AlarmChange.SHELVED,
    AlarmChange.UNSHELVED,
    AlarmChange.SUPPRESSED,
    AlarmChange.UNSUPPRESSED,
)


def rules_of(*rules, system=None, **handling):
    return replace(RULES, alarms=rules, alarm_settings=AlarmSettings(**handling), system_alarms=system, camera="cam1")


class Line:
    """A strip under the camera, its host and its operator; `told` holds what each step told."""

    def __init__(self, rules, state=None):
        self.rules, self.state, self.now_ns, self.line, self.told = rules, state or DecisionState.initial(), 0, 0, []

    def frames(self, strip, **kwargs):
        for prediction in cut_strip(strip, [LINES] * 200, **kwargs):
            frame = replace(prediction.frame, first_line=self.line, along_mm=float(self.line))
            self.line += frame.lines
            self.state, decided = decide(self.state, replace(prediction, frame=frame), self.rules)
            self._take(decided)
        return self

    def clean(self, frames=1):
        return self.frames(paint(LINES * frames, 32))

    def spot(self, frames=1):
        """Frames with a defect of their own in each."""
        return self.frames(paint(LINES * frames, 32, *((LINES * i + 4, LINES * i + 8, 3, 5) for i in range(frames))))

    def order(self, action, alarm=None, minutes=None, token=None):
        command = AlarmCommand(token or f"t{len(self.told)}", action, "ann", self.now_ns)
        self.state, notice = carry_out(self.state, AlarmOrder(command, alarm, minutes), self.rules)
        self._take((notice,))
        assert all(alarm.command == command for alarm in notice.alarms)
        return notice

    def host(self, minutes=0.0, **known):
        self.now_ns += round(minutes * MINUTE_NS)
        self.state, decided = follow_host(self.state, HostState(self.now_ns, **known), self.rules)
        self._take(decided)
        return self

    def end(self):
        self._take(finish(self.state))
        return self

    def _take(self, decided):
        self.told += alarms(decided)

    def changes(self, rule=None):
        found = [(a.change, a.state is AlarmState.RAISED) for a in self.told if rule in (None, a.rule)]
        self.told.clear()
        return found


@pytest.mark.parametrize(("frames", "raised"), [(1, False), (2, False), (3, True)])
def test_an_on_delay_is_metres_of_strip_and_never_shorter_than_configured(frames, raised):
    line = Line(rules_of(AlarmRule(name="run", latch=False, on_delay_m=2 * LINES / 1000)))
    assert line.spot(frames).clean(3).changes() == ([(ON, True), (OFF, False)] if raised else [])


def test_a_tentative_defect_does_not_alarm():
    rule = AlarmRule(name="any", latch=False)
    assert Line(rules_of(rule)).spot().changes() != []
    assert Line(replace(rules_of(rule), call_probability=1.0)).spot().end().changes() == []


def test_a_run_of_defects_with_gaps_is_one_alarm_by_its_off_delay():
    line = Line(rules_of(AlarmRule(name="run", latch=False, off_delay_m=3 * LINES / 1000)))
    line.spot().clean(3).spot().clean(2).spot()
    assert line.changes() == [(ON, True)]
    assert line.clean(3).changes() == []
    assert line.clean(1).changes() == [(OFF, False)]


def test_a_deadband_keeps_a_count_that_flutters():
    rule = AlarmRule(name="many", min_count=3, within_m=0.05, latch=False)
    strip = [3, 20, 36, 66, 96, 126, 150, 160, 170]
    flutters = Line(rules_of(rule)).frames(paint(16 * 16, 32, *((at, at + 2, 3, 5) for at in strip))).changes()
    steady = Line(rules_of(rule.model_copy(update={"deadband_count": 1})))
    steady = steady.frames(paint(16 * 16, 32, *((at, at + 2, 3, 5) for at in strip))).changes()
    assert steady == [(ON, True), (OFF, False)]
    assert flutters == [(ON, True), (OFF, False)] * 2


def test_a_latched_alarm_is_over_when_acknowledged_and_gone_whichever_comes_first():
    rule = AlarmRule(name="any")
    line = Line(rules_of(rule)).spot(2)
    line.order(AlarmAction.ACKNOWLEDGE, "any")
    assert line.changes() == [(ON, True), (ACK, True)]
    assert line.spot().changes() == []
    assert line.clean().changes() == [(OFF, False)]
    line.spot().clean(4)
    assert line.changes() == [(ON, True)], "latched"
    notice = line.order(AlarmAction.ACKNOWLEDGE)
    assert [(a.change, a.acked_state, a.retain, a.command.by) for a in notice.alarms] == [(OFF, True, False, "ann")]
    line.changes()
    assert line.spot().changes() == [(ON, True)], "and it may come again"


def test_acknowledging_twice_changes_nothing_and_what_does_not_stand_is_refused():
    line = Line(rules_of(AlarmRule(name="any"))).spot()
    raised = line.told[0]
    assert line.order(AlarmAction.ACKNOWLEDGE, raised.id).alarms[0].acked_state
    again = line.order(AlarmAction.ACKNOWLEDGE, raised.id)
    assert (again.alarms, again.refused) == ((), None)
    assert "no such alarm stands" in line.order(AlarmAction.ACKNOWLEDGE, "any/C9").refused
    assert "the rules are any" in line.order(AlarmAction.SHELVE, "nobody", 5).refused
    assert "at most 480" in line.order(AlarmAction.SHELVE, "any", 481).refused


def _roll(state, marks):
    return RollMark(
        *("C1/top/cam1/0.3/roll", state, "C1", "top", "cam1", "scratches"),
        pitch_mm=1900.2,
        pitch_error_mm=0.5,
        confidence=0.999,
        marks=marks,
        marks_due=marks,
        across_mm=(3.0, 5.0),
        along_mm=(250.0, 250.0 + 1900.0 * marks),
        defect_ids=("C1/top/cam1/250.3",),
        suspects=(RollSuspect("F7 top", "F7", (1800.0, 2100.0), (600.0, 610.5), 1, 1.0),),
    )


def test_a_roll_mark_alarms_while_its_row_is_followed_and_names_the_roll():
    rules = rules_of(AlarmRule(name="roll", roll_mark=True, classes=("scratches",), min_count=4, latch=False))
    (verdict,) = verdicts(run([predict(paint(LINES, 32))]))
    standing, _ = start_coil(Alarms(), rules, "C1", "top", "cam1")
    told = []
    for state, marks in (("recognised", 3), ("updated", 4), (None, 0), ("updated", 5), ("ended", 5), (None, 0)):
        news = (_roll(RollMarkState(state), marks),) if state else ()
        standing, transitions = follow_verdict(standing, replace(verdict, roll_marks=news), rules)
        told.append([(alarm.change, alarm.along_mm, alarm.text) for alarm in transitions])
    text = "roll: scratches every 1900 mm at 3 mm across since 0.250 m, F7 top"
    assert told == [[], [(ON, 250.0, text)], [], [], [(OFF, 250.0, text)], []]


def test_a_rule_about_roll_marks_takes_no_sizes_of_defects():
    with pytest.raises(ValidationError, match="min_length_mm does not apply to a roll mark"):
        AlarmRule(name="roll", roll_mark=True, min_length_mm=5.0)


def test_a_shelved_rule_asks_nobody_until_its_time_is_over():
    line = Line(rules_of(AlarmRule(name="any", latch=False))).spot()
    line.order(AlarmAction.SHELVE, "any", 30)
    shelf, alarm = line.told[-2:]
    assert (shelf.id, shelf.active_state, shelf.retain, shelf.shelved_until_unix_ns) == (
        "any",
        False,
        True,
        30 * MINUTE_NS,
    )
    assert (alarm.change, alarm.shelving_state) == (SH, ShelvingState.TIMED_SHELVED)
    assert line.changes() == [(ON, True), (SH, False), (SH, False)]
    assert line.host(29).clean().spot().changes() == [(OFF, False), (ON, False)], "logged, and nobody is asked"
    assert line.host(1).changes() == [(UN, False), (UN, True)], "what is active then asks"
    assert all(rule_alarm.shelf is None for rule_alarm in line.state.alarms.rule_alarms)


@pytest.mark.parametrize("by_minutes", [-100, -2, 40, 400 * 24 * 60])
def test_a_clock_that_is_set_makes_a_shelving_neither_shorter_nor_longer(by_minutes):
    line = Line(rules_of(AlarmRule(name="any", latch=False)))
    line.now_ns = 1000 * 24 * 60 * MINUTE_NS
    line.spot().order(AlarmAction.SHELVE, "any", 30)
    line.changes()
    line.host(10 + by_minutes, clock_step_ns=by_minutes * MINUTE_NS)
    assert {told.shelved_until_unix_ns for told in line.told} == {line.now_ns + 20 * MINUTE_NS}
    assert line.changes() == [(SH, False), (SH, False)], "the rule's shelving and the alarm tell when it is over now"
    assert line.host(19.9).changes() == []
    assert line.host(0.2).changes() == [(UN, False), (UN, True)]


def test_a_shelving_of_which_more_is_left_than_any_may_last_is_over():
    """The clock was set back while the service was down: nobody knows when its time would be over."""
    line = Line(rules_of(AlarmRule(name="any", latch=False), max_shelve_minutes=60)).spot()
    line.order(AlarmAction.SHELVE, "any", 30)
    line.changes()
    assert line.host(-29).changes() == []
    assert line.host(-100).changes() == [(UN, False), (UN, True)]


def test_a_shelf_outlives_the_coil_and_unshelving_ends_it():
    line = Line(rules_of(AlarmRule(name="any", latch=False)))
    line.order(AlarmAction.SHELVE, "any", 30)
    line.clean()
    line.told.clear()
    line.state, decided = decide(line.state, predict(paint(LINES, 32, (4, 8, 3, 5)), coil="C2"), line.rules)
    assert [(a.change, a.state) for a in alarms(decided)] == [(ON, AlarmState.CLEARED)]
    line.order(AlarmAction.UNSHELVE, "any")
    assert line.changes() == [(UN, False), (UN, True)]
    assert line.order(AlarmAction.UNSHELVE, "any").alarms == ()


def test_shelved_once_it_is_until_the_alarm_is_over():
    line = Line(rules_of(AlarmRule(name="any", latch=False))).spot()
    line.order(AlarmAction.SHELVE, "any")
    line.changes()
    assert line.clean().changes() == [(UN, False), (OFF, False)]
    assert line.spot().changes() == [(ON, True)]


def test_threading_defects_within_the_head_do_not_alarm_and_what_reaches_beyond_does():
    line = Line(rules_of(AlarmRule(name="any"), head_exclusion_m=0.05))
    assert line.spot(3).changes() == []
    assert line.spot().changes() == [(ON, True)], "at 52 mm"
    reaching = Line(rules_of(AlarmRule(name="any"), head_exclusion_m=0.05)).frames(paint(LINES * 5, 32, (8, 60, 3, 5)))
    assert reaching.changes() == [(ON, True)]


def test_the_first_of_a_group_is_marked():
    rules = rules_of(
        AlarmRule(name="long", min_length_mm=10, group="g"), AlarmRule(name="any", group="g"), AlarmRule(name="alone")
    )
    line = Line(rules).frames(paint(LINES * 3, 32, (4, 40, 3, 5)))
    assert {a.rule: a.first_in_group for a in line.told} == {"long": True, "any": False, "alone": False}


def test_a_flood_is_one_alarm_that_counts_and_lets_urgent_ones_through():
    names = ["a", "b", "c", "d"]
    sizes = {name: {"min_length_mm": 1.0 + i} for i, name in enumerate(names)}
    rules = [AlarmRule(name=name, latch=False, **sizes[name]) for name in names]
    urgent = AlarmRule(name="u", latch=False, priority=Priority.URGENT, min_length_mm=0.5)
    line = Line(rules_of(*rules, urgent, flood_count=2, flood_window_m=0.1)).spot()
    told = {a.rule: a for a in line.told}
    assert {rule: a.state is AlarmState.RAISED for rule, a in told.items()} == {
        "a": True,
        "b": True,
        "c": False,
        "d": False,
        "u": True,
        "flood": True,
    }
    assert told["c"].suppressed_state
    assert told["flood"].count == 5
    line.changes()
    line.clean().spot(2).clean(10)
    flood = [a for a in line.told if a.rule == "flood"]
    assert [(a.change, a.count) for a in flood] == [(OFF, 10)]
    assert all(a.state is AlarmState.CLEARED for a in line.told if a.rule in names)


def test_what_a_flood_held_back_asks_when_the_flood_is_over():
    rules = [AlarmRule(name=name, min_length_mm=size) for name, size in (("a", 1.0), ("b", 2.0))]
    line = Line(rules_of(*rules, flood_count=1, flood_window_m=0.05))
    line.frames(paint(LINES * 8, 32, (4, 100, 3, 5)))
    assert line.changes("b") == [(ON, False), (UNSUP, True)]


SYSTEM = SystemAlarmSettings(camera_lost_m=0.03, coverage_below=0.9, coverage_within_m=0.4, coverage_deadband=0.05)


def test_strip_without_a_picture_is_a_lost_camera_and_low_coverage():
    line = Line(rules_of(system=SYSTEM)).clean(30)
    assert line.changes() == []
    line.frames(paint(LINES * 3, 32), valid_lines=0, fault=Cause.BLACK)
    assert line.changes("camera-lost") == [(ON, True)]
    line.frames(paint(LINES, 32), valid_lines=0, fault=Cause.BLACK).clean(1)
    assert [(a.rule, a.change) for a in line.told] == [("camera-lost", OFF)]
    line.clean(40)
    assert [a.rule for a in line.told if a.change is OFF] == ["camera-lost", "coverage-low"]
    assert line.end().changes()[-1] == (OFF, False)


def test_an_engine_that_fails_is_an_alarm_with_an_off_delay():
    line = Line(rules_of(system=SYSTEM.model_copy(update={"engine_off_delay_m": 2 * LINES / 1000})))
    line.clean().frames(paint(LINES, 32), failed=Cause.ENGINE).clean(2)
    assert line.changes("engine-failing") == [(ON, True)]
    assert line.clean(2).changes("engine-failing") == [(OFF, False)]


def test_the_host_is_told_of_once_and_what_it_does_not_know_changes_nothing():
    line = Line(rules_of(system=SystemAlarmSettings(disk_free_below_mb=100.0, camera_silent_s=30.0)))
    assert line.host(disk_free_mb=200.0, camera_silent_s=1.0, backend_lost="").changes() == []
    assert line.host(disk_free_mb=99.0, camera_silent_s=31.0).changes() == [(ON, True), (ON, True)]
    assert line.host(disk_free_mb=98.0, camera_silent_s=40.0).host().changes() == []
    line.clean().end()
    assert line.changes() == [], "the coil's end is nothing to the host"
    assert line.host(disk_free_mb=105.0, camera_silent_s=0.1).changes() == [(OFF, False)]
    assert line.host(disk_free_mb=111.0).changes() == [(OFF, False)]
    assert line.host(backend_lost="gone").changes("engine-failed-over") == [(ON, True)]
    assert line.host(recipe_lacking="no such engine").changes("recipe-engine-lacking") == [(ON, True)]
    assert line.host(recipe_lacking="").changes("recipe-engine-lacking") == [(OFF, False)]
    assert line.host(engine_withdrawn="it failed").changes("engine-withdrawn") == [(ON, True)]
    assert line.host(engine_withdrawn="").changes("engine-withdrawn") == [(OFF, False)]


@given(
    st.lists(
        st.sampled_from(["clean", "spot", "ack", "shelve", "once", "unshelve", "host", "later", "restart", "lost"]),
        max_size=40,
    ),
    st.booleans(),
)
def test_whatever_happens_alarms_are_told_of_in_order_and_a_restart_changes_nothing(steps, latch):  # noqa: PLR0912
    """Each alarm: active first, inactive last and once; retained between; what asks is active, unshelved, unsuppressed;
    never two of a rule at a time; a restart, with what was retained, tells nothing by itself."""
    rules = rules_of(
        AlarmRule(name="a", latch=latch, off_delay_m=0.02),
        AlarmRule(name="b", min_length_mm=2.0, latch=not latch, on_delay_m=0.02),
        system=SYSTEM,
        flood_count=2,
        flood_window_m=0.1,
    )
    line, seen, retained = Line(rules), 0, {}
    for number, step in enumerate(steps):
        match step:
            case "clean":
                line.clean()
            case "spot":
                line.spot()
            case "lost":
                line.frames(paint(LINES, 32), valid_lines=0, fault=Cause.BLACK)
            case "ack":
                line.order(AlarmAction.ACKNOWLEDGE, token=str(number))
            case "shelve" | "once":
                line.order(AlarmAction.SHELVE, "a", 10 if step == "shelve" else None, token=str(number))
            case "unshelve":
                line.order(AlarmAction.UNSHELVE, "a", token=str(number))
            case "host":
                line.host(camera_silent_s=100.0 if number % 2 else 0.0)
            case "later":
                line.host(6)
            case "restart":
                line.state = DecisionState.initial(retained.values())
                line.state = replace(line.state, coil=None)
                before = len(line.told)
                line.host()
                assert len(line.told) == before
        for told in line.told[seen:]:
            before = retained.get(told.id)
            assert (before is None) == (told.change is ON or (told.change is SH and told.id == told.rule)) or (
                before is not None and told.change is SH
            )
            assert told.retain == (told.change is not OFF and not (told.change is UN and told.id == told.rule))
            asks = told.active_state and not told.suppressed_state and told.shelving_state is ShelvingState.UNSHELVED
            assert (told.state is AlarmState.RAISED) == asks
            if before is not None and before.active_state and told.active_state:
                assert told.acked_state >= before.acked_state
            retained[told.id] = told
            if not told.retain:
                del retained[told.id]
            active = [a.rule for a in retained.values() if a.active_state]
            assert len(active) == len(set(active))
        seen = len(line.told)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            (AlarmRule(name="a", group="g"), AlarmRule(name="b", group="h")),
            "'a' is alone in group 'g'.*the groups are g, h",
        ),
        ((AlarmRule(name="a", priority=Priority.LOW), AlarmRule(name="b")), "'a' and 'b' match the same defects"),
        ((AlarmRule(name="disk-low"),), "as a built-in alarm is"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(rules, message):
    with pytest.raises(ConfigError, match=message):
        rules_of(*rules)


@pytest.mark.parametrize("settings", [{"min_count": 2, "deadband_count": 2}, {"deadband_count": 1}])
def test_an_alarm_that_would_never_be_over_is_refused(settings):
    with pytest.raises(ValueError, match="would never be over"):
        AlarmRule(name="a", **settings)
    with pytest.raises(ValueError, match="would never be over"):
        SystemAlarmSettings(coverage_below=0.99, coverage_deadband=0.02)


def test_coverage_low_counts_area():
    """Of every frame a tenth is not scored: its lines are degraded, and nine tenths of the strip are inspected."""
    system = SystemAlarmSettings(coverage_below=0.85, coverage_within_m=0.32)
    strip = paint(LINES * 60, 32)
    assert Line(rules_of(system=system)).frames(strip, scored_px=461).changes("coverage-low") == []
    assert Line(rules_of(system=system)).frames(strip, scored_px=410).changes("coverage-low") == [(ON, True)]


def test_a_long_loss_is_remembered_in_few_stretches():
    line = Line(rules_of(system=SystemAlarmSettings(coverage_within_m=16.0)))
    for _ in range(15):
        line.frames(paint(LINES * 100, 32), scored_px=480)
    uninspected = line.state.alarms.uninspected
    assert len(uninspected.stretches) <= 112
    assert uninspected.coverage(line.line, 16_000.0) == pytest.approx(1 - 32 / 512)


@pytest.mark.parametrize(("scored_px", "told"), [(512, []), (300, [(ON, True), (OFF, False)])])
def test_a_short_coil_of_which_too_little_was_inspected_alarms_at_its_end(scored_px, told):
    line = Line(rules_of(system=SystemAlarmSettings()))
    line.frames(paint(LINES * 3, 32), scored_px=scored_px)
    assert line.changes("coverage-low") == []
    line.end()
    assert line.changes("coverage-low") == told


@pytest.mark.parametrize("name", ["camera-lost", "coverage-low", "engine-failing", "disk-low", "camera-silent"])
def test_an_alarm_about_the_inspection_can_be_switched_off(name):
    def told(*off: str) -> set[str]:
        line = Line(rules_of(system=SystemAlarmSettings(off=off, camera_lost_m=0.1)))
        line.frames(paint(LINES * 20, 32), failed=Cause.ENGINE)
        line.frames(paint(LINES * 20, 32), valid_lines=0, fault=Cause.BLACK)
        line.host(disk_free_mb=1.0, camera_silent_s=100.0).end()
        return {alarm.rule for alarm in line.told}

    assert told() == {"camera-lost", "coverage-low", "engine-failing", "disk-low", "camera-silent"}
    assert told(name) == told() - {name}


def test_an_unknown_alarm_cannot_be_switched_off():
    with pytest.raises(ValidationError, match="coverage-low"):
        SystemAlarmSettings(off=("coverage",))
