"""Join the decisions of the services of one strip's cameras into one record.

No clock, I/O or threads: equal input gives equal output. The caller decodes messages or lines of verdict files
(`wire.decode`), gives them to a `Joiner`, and journals and publishes what that returns.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.coil import CoilData
from linewatch.contracts.errors import WireError
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import (
    CoilNotice,
    Decided,
    DefectEvent,
    Quality,
    RollMark,
    Verdict,
)
from linewatch.decision.alarms import camera_alarms
from linewatch.decision.coverage import WIDTH_TOLERANCE, WidthExpectation
from linewatch.decision.decide import (
    AGAIN,
    NAMES_KEPT,
    DecisionState,
    RunningCoil,
    account,
    begin_coil,
    end_coil,
    genuine,
    led_by,
    marked,
)
from linewatch.decision.grading.grade import GradingState
from linewatch.decision.rollmarks.rows import Recurrence, end_rolls, follow_rolls
from linewatch.decision.rules import DecisionRules
from linewatch.strip.coverage import Lines, spans_across
from linewatch.strip.defects import EdgesMm, Moment, StripDefects
from linewatch.strip.feed import CLOSE_MM, Feed, Item
from linewatch.strip.owed import OwedFrames
from linewatch.strip.raster import StripLayout, hull_mm
from linewatch.strip.rules import StripRules
from linewatch.strip.settings import StripSettings


class Joiner:
    """One strip under several cameras, named by `StripCamera.key` ("top/cam1").

    A joined frame is decided once every camera has told of all of its strip, so what is returned does not depend on
    the order in which the cameras are heard. Only `tick` and `lose` give up waiting: a camera that is silent `wait_s`
    after another one has told of all of a frame is left out, its share of the frame is missed (cause `silent`), and
    nobody waits for it until it has caught up. What it tells later of such a frame is put right in
    `Verdict.corrections` of the next frame, until the coil ends. Without them, as in a replay, there is no limit.
    """

    def __init__(self, settings: StripSettings, state: DecisionState | None = None) -> None:
        """state: of an earlier run, behind the end of a coil. Raises ConfigError for rules that cannot be used."""
        self.rules = StripRules(settings)
        self.following_rules: StripRules | None = None
        """Replace those of the present coil when the next one begins."""
        self.state = state or DecisionState.initial()
        """Of the decision; replace it by what `decide.carry_out` (orders) or `decide.follow_host` returns."""
        self._settings = settings
        self._layout = StripLayout(settings)
        self._feeds = tuple(Feed(view) for view in self._layout.views)
        self._by_key = {feed.view.key: feed for feed in self._feeds}
        self._sides = {side: [self._by_key[camera.key] for camera in settings.across(side)] for side in settings.sides}
        self._wait_ns = round(settings.strip.wait_s * 1e9)
        self._ordinal = 0
        self._waits: deque[tuple[float, int]] = deque()  # how far the foremost camera had told, and when
        self._owed = OwedFrames(self._feeds, self._layout.mm_per_line)
        self._rolls: dict[str, Recurrence] = {}
        self._widths: dict[str, WidthExpectation] = {}  # of the whole strip, by side
        self._data: CoilData | None = None
        self._between = False
        self._notes: tuple[str, ...] = ()
        self._columns: dict[str, AcrossMap | None] = {}  # by camera, as its service told them last
        self._unlike: dict[str, str] = {}  # by camera, that its service has another view than the settings
        self._defects = StripDefects(self._layout, settings.strip.name)

    @property
    def current_rules(self) -> DecisionRules:
        """The rules of the present coil, for `decide.carry_out` and `decide.follow_host`."""
        return self._current_rules()

    @property
    def coil(self) -> RunningCoil | None:
        """The coil under the cameras; None between two."""
        return self.state.coil

    @property
    def behind_mm(self) -> dict[str, float]:
        """By camera, how much strip it is behind the foremost one; infinite while it tells nothing of this coil."""
        foremost_mm = self._foremost_mm()
        return {
            feed.view.key: max(0.0, foremost_mm - feed.told_mm) if feed.member else math.inf for feed in self._feeds
        }

    def take(self, camera: str, told: Item, now_ns: int = 0) -> tuple[Decided, ...]:
        """Take the next thing that a camera's service has decided; return what is decided of the strip by it.

        now_ns: when it arrived, by any clock that `tick` uses as well. Raises KeyError for an unknown camera, and
        WireError where the service is that of another one.
        """
        feed = self._by_key[camera]
        if (found := f"{told.side}/{told.camera}") != camera:
            raise WireError(
                f"the service of [[camera]] {camera!r} calls itself {found!r}; expected the same: correct side and "
                "name, or the endpoints"
            )
        feed.queue.append(told)
        return self._advance(now_ns)

    def over(self, camera: str, now_ns: int = 0) -> tuple[Decided, ...]:
        """Note that nothing more comes from a camera: its recording is at its end."""
        self._by_key[camera].over = True
        return self._advance(now_ns)

    def lose(self, camera: str, now_ns: int = 0) -> tuple[Decided, ...]:
        """Wait no longer for a camera whose service is known not to answer, until it tells something again."""
        self._by_key[camera].left_out = True
        return self._advance(now_ns)

    def tick(self, now_ns: int) -> tuple[Decided, ...]:
        """Return what is decided because a camera has been waited for long enough."""
        decided: list[Decided] = []
        while self._waits and now_ns - self._waits[0][1] >= self._wait_ns:
            end_mm = self._open_end_mm()
            upto_mm = max(self._target_mm(), 0.0 if math.isinf(end_mm) else end_mm + self._settings.strip.ends_mm)
            late = [feed for feed in self._feeds if not feed.left_out and self._is_late(feed, upto_mm)]
            if not late:
                break
            for feed in late:
                feed.left_out = True
            decided += self._advance(now_ns)
        return tuple(decided)

    def _is_late(self, feed: Feed, upto_mm: float) -> bool:
        if self.state.coil is None:
            return feed.head is None and not feed.over
        return feed.member and feed.told_mm < upto_mm - CLOSE_MM

    def finish(self) -> tuple[Decided, ...]:
        """Decide all that was told, without waiting for anything, and end the coil."""
        for feed in self._feeds:
            feed.over = True
        return self._advance(0)

    def _advance(self, now_ns: int) -> tuple[Decided, ...]:
        decided: list[Decided] = []
        while True:
            coil = self.state.coil
            if coil is None:
                notice = self._begin()
                if notice is None:
                    break
                decided.append(notice)
                continue
            for feed in self._feeds:
                self._let_in(feed, coil)
                feed.take_up(coil.coil)
                if feed.left_out and feed.member and feed.told_mm >= self._at_mm(coil) + self._frame_mm:
                    feed.left_out = False
            low_mm = self._told_by_all_mm()
            if low_mm is None:
                break
            if low_mm >= self._target_mm() - CLOSE_MM and not math.isinf(low_mm):
                decided.append(self._frame(self._next_line + self._settings.strip.frame_lines))
            elif math.isinf(low_mm):
                decided += self._last(coil)
            else:
                break
        self._note_waits(now_ns)
        return tuple(decided)

    def _let_in(self, feed: Feed, coil: RunningCoil) -> None:
        """Let a camera that was left out when the coil began tell of it."""
        if feed.member or not feed.left_out:
            return
        while (head := feed.head) is not None and head != coil.coil and head in self.state.passed:
            feed.skip_passage()
        if head == coil.coil and (notice := feed.begin(coil.coil)) is not None:
            self._data = self._data or notice.conditions.data

    def _note_waits(self, now_ns: int) -> None:
        """Keep how far the foremost camera has told, and when, as far as frames wait for others."""
        if self.state.coil is None:
            known = any(feed.head is not None for feed in self._feeds)
            self._waits = deque([self._waits[0] if self._waits else (0.0, now_ns)] if known else [])
            return
        foremost_mm, target_mm = self._foremost_mm(), self._target_mm()
        while self._waits and self._waits[0][0] < target_mm - CLOSE_MM:
            self._waits.popleft()
        if foremost_mm >= target_mm - CLOSE_MM and (not self._waits or foremost_mm > self._waits[-1][0]):
            self._waits.append((foremost_mm, now_ns))

    @property
    def _frame_mm(self) -> float:
        return self._settings.strip.frame_lines * self._layout.mm_per_line

    @property
    def _next_line(self) -> int:
        return self.state.coil.next_line if self.state.coil is not None else 0

    def _at_mm(self, coil: RunningCoil) -> float:
        return coil.next_line * self._layout.mm_per_line

    def _target_mm(self) -> float:
        return self._next_line * self._layout.mm_per_line + self._frame_mm

    def _foremost_mm(self) -> float:
        return max((feed.told_mm for feed in self._feeds if feed.member), default=0.0)

    def _told_by_all_mm(self) -> float | None:
        """Return up to where all have told that are waited for; None: nobody is there."""
        waited = [feed for feed in self._feeds if feed.member and not feed.left_out]
        if not waited:
            return None
        low_mm = min(feed.told_mm for feed in waited)
        end_mm = self._open_end_mm()
        return min(low_mm, end_mm) if low_mm < end_mm + self._settings.strip.ends_mm else low_mm

    def _open_end_mm(self) -> float:
        """Return the first end that a camera told, where others go on; there they may end as well, a little later."""
        waited = [feed for feed in self._feeds if feed.member and not feed.left_out]
        if all(feed.end_mm is not None for feed in waited):
            return math.inf
        told_mm = min(feed.told_mm for feed in waited)
        ends_mm = [feed.end_mm for feed in waited if feed.end_mm is not None]
        return min((end for end in ends_mm if end + self._settings.strip.ends_mm > told_mm), default=math.inf)

    # The coil

    def _begin(self) -> CoilNotice | None:
        """Begin the next coil, once it is known which one; None: it is not known yet."""
        waited = [feed for feed in self._feeds if not feed.over and not feed.left_out]
        while True:
            heads = {feed.view.index: name for feed in self._feeds if (name := feed.head) is not None}
            if not heads or any(feed.head is None for feed in waited):
                return None
            votes = Counter(heads.values())
            most = max(votes.values())
            name = next(one for one in heads.values() if votes[one] == most)
            stale = [
                self._feeds[at]
                for at, head in heads.items()
                if head != name and (head in self.state.passed or self._feeds[at].outvoted)
            ]
            if not stale:
                break
            for feed in stale:
                feed.outvoted = False
                feed.skip_passage()
        for at, head in heads.items():
            self._feeds[at].outvoted = head != name
            self._feeds[at].left_out &= head != name
        return self._begin_coil(name)

    def _begin_coil(self, name: str) -> CoilNotice:
        self.rules, self.following_rules = self.following_rules or self.rules, None
        notices = [notice for feed in self._feeds if (notice := feed.begin(name)) is not None]
        self._data = next((one.conditions.data for one in notices if one.conditions.data is not None), None)
        self._between = any(one.conditions.between for one in notices)
        absent = [feed.view.key for feed in self._feeds if not feed.member]
        self._notes = (AGAIN,) if name in self.state.passed else ()
        if absent:
            self._notes += (f"nothing was told at its start by {', '.join(absent)}",)
        rules = self._current_rules()
        self._rolls = {side: Recurrence.initial(0.0, rules.periodic, rules.rolls) for side in self._sides}
        self._defects = StripDefects(self._layout, self._settings.strip.name)
        self._unlike.clear()
        self._columns.clear()
        self._owed.clear()
        self._waits.clear()
        self._widths.clear()
        coil = RunningCoil(
            coil=name,
            side=self._settings.side,
            camera=self._settings.strip.name,
            next_line=0,
            end_mm=0.0,
            captured_ns=max((_taken_unix_ns(one.timing) for one in notices), default=0),
            grading=None if rules.grading is None else GradingState.begin(rules.grading),
            recurrence=Recurrence.initial(0.0, rules.periodic, rules.rolls),
            conditions=rules.conditions,
            config=rules.config,
        )
        alarms, notice = begin_coil(coil, self.state.alarms, rules)
        self.state = replace(self.state, coil=coil, alarms=alarms)
        return notice

    def _current_rules(self) -> DecisionRules:
        return self.rules.of(self.rules.conditions(self._data, between=self._between, notes=self._notes))

    def _last(self, coil: RunningCoil) -> Iterator[Decided]:
        """Decide what is left of a coil whose end all have told, and end it."""
        ends_mm = sorted(feed.end_mm for feed in self._feeds if feed.end_mm is not None)
        agreed_mm = next((end for end in ends_mm if end >= ends_mm[-1] - self._settings.strip.ends_mm), 0.0)
        length = max(coil.next_line, round(agreed_mm / self._layout.mm_per_line))
        while self._next_line < length:
            stop = min(self._next_line + self._settings.strip.frame_lines, length)
            yield self._frame(stop, everything=stop == length)
        yield self._end(ends_mm)

    def _end(self, ends_mm: list[float]) -> CoilNotice:
        for feed in self._feeds:
            for event in self._all_held(feed, math.inf):
                self._take_defects(feed, event)
            if feed.last is not None:
                for step in feed.last.defects:
                    self._defects.take(feed.view, None, step)
            feed.member, feed.last, feed.end_mm = False, None, None
            feed.spans.clear()
        if ends_mm and ends_mm[-1] - ends_mm[0] >= 1.0:
            self._notes += (f"its cameras differ by {ends_mm[-1] - ends_mm[0]:.0f} mm about where it ends",)
        for seam, slip_mm in self._defects.slips_mm:
            if abs(slip_mm) > self._settings.strip.seam_along_mm:
                left, right = (self._layout.views[view].key for view in seam.views)
                more = "more" if slip_mm > 0 else "less"
                self._notes += (f"{right} counts {abs(slip_mm):.0f} mm {more} than {left} at its end",)
        self._notes += tuple(self._unlike[key] for key in sorted(self._unlike))
        rules = self._current_rules()
        coil = self.state.coil
        assert coil is not None
        coil = led_by(coil, rules)
        coil = replace(coil, conditions=coil.conditions.noted(*self._notes))
        graded_by = coil.grading.rules if coil.grading else None
        events = self._defects.close_all(self._edges(), rules, graded_by)
        marks = tuple(mark for side in self._sides for mark in end_rolls(self._rolls[side]))
        alarms, notice = end_coil(coil, self.state.alarms, events, marks)
        passed = (*self.state.passed, coil.coil)[-NAMES_KEPT:]
        self.state = replace(self.state, coil=None, alarms=alarms, passed=passed)
        self._waits.clear()
        return notice

    # A frame

    def _frame(self, stop_line: int, *, everything: bool = False) -> Verdict:
        """Decide the joined frame up to a line. everything: that was told counts for it, since it is the last one."""
        coil = self.state.coil
        assert coil is not None
        lines = Lines(coil.next_line, stop_line, self._layout.mm_per_line)
        begin_mm, end_mm = lines.along_mm
        upto_mm = math.inf if everything else end_mm
        shares = {feed.view.index: feed.share(begin_mm, end_mm) for feed in self._feeds}
        verdicts = self._take_held(upto_mm)
        rules = self._current_rules()
        before, coil = coil, led_by(coil, rules)
        narrow_mm = self._narrow_mm(coil)
        spans = spans_across(lines, tuple(shares.values()), narrow_mm)
        graded_by = coil.grading.rules if coil.grading else None
        moment = Moment(self._ordinal, begin_mm, self._settled_mm(upto_mm))
        events = self._defects.tell(moment, self._edges(), rules, graded_by)
        events = marked(coil, events)
        corrections, corrected, coil = self._owed.put_right(coil)
        roll_marks = self._roll_marks(events, rules, end_mm)
        said = [verdict for _, verdict in verdicts]
        verdict = Verdict(
            ordinal=self._ordinal,
            sequence=self._ordinal,
            coil=coil.coil,
            side=coil.side,
            camera=coil.camera,
            first_line=lines.first_line,
            lines=lines.stop_line - lines.first_line,
            valid_lines=0 if all(s.quality is Quality.MISSED for s in spans) else lines.stop_line - lines.first_line,
            along_mm=lines.along_mm,
            encoded=all(one.encoded for one in said),
            strip_mm=hull_mm([feed.known_mm for feed in self._feeds if feed.member and feed.known_mm is not None]),
            spans=spans,
            tiles=sum(one.tiles for one in said),
            tiles_passed=sum(one.tiles_passed for one in said),
            screen_peak=max((one.screen_peak for one in said), default=0.0),
            defects=events,
            alarms=(),
            engines=tuple(sorted({f"{feed.view.key} {name}" for feed, one in verdicts for name in one.engines})),
            timing=Timing(captured_ns=max((_taken_unix_ns(one.timing) for one in said), default=0)),
            roll_marks=roll_marks,
            position_fault=next((one.position_fault for one in said if one.position_fault is not None), None),
            coil_data=coil.conditions.data if coil.conditions.data != before.conditions.data else None,
            config=coil.config if coil.config != before.config else "",
            calibration="; ".join(
                sorted({f"{feed.view.key} {one.calibration}" for feed, one in verdicts if one.calibration})
            ),
            corrections=corrections,
            corrected=corrected,
            columns=self._layout.columns,
        )
        periodic = frozenset(name for mark in roll_marks for name in mark.defect_ids)
        coil = account(replace(coil, end_mm=end_mm), events, spans, self._layout.mm_per_line, periodic)
        coil = replace(coil, next_line=stop_line, captured_ns=verdict.timing.captured_ns)
        alarms, transitions = camera_alarms.follow_verdict(self.state.alarms, verdict, rules)
        self.state = replace(self.state, coil=coil, alarms=alarms)
        self._ordinal += 1
        self._owed.remember(lines, shares, spans, narrow_mm)
        for feed in self._feeds:
            feed.forget(end_mm if not feed.left_out else -math.inf)
        return replace(verdict, alarms=transitions) if transitions else verdict

    def _take_held(self, upto_mm: float) -> list[tuple[Feed, Verdict]]:
        """Take up what the cameras decided up to a place: their defects, the strip's edges, the coil's data."""
        taken = [(feed, verdict) for feed in self._feeds for verdict in self._all_held(feed, upto_mm)]
        for feed, verdict in taken:
            if verdict.columns is not self._columns.get(feed.view.key):
                self._columns[feed.view.key] = verdict.columns
                if unlike := feed.view.unlike(verdict.columns):
                    self._unlike.setdefault(feed.view.key, unlike)
            self._take_defects(feed, verdict)
            feed.shown_mm = feed.view.strip_mm(verdict)
            feed.known_mm = feed.shown_mm or feed.known_mm
            self._data = verdict.coil_data or self._data
        return taken

    def _roll_marks(self, events: tuple[DefectEvent, ...], rules: DecisionRules, end_mm: float) -> tuple[RollMark, ...]:
        """Return the roll marks that a frame's defects show, each side by itself."""
        marks: list[RollMark] = []
        for side in self._sides:
            of_side = tuple(one for one in events if one.defect.side == side)
            self._rolls[side], of_rolls = follow_rolls(self._rolls[side], genuine(of_side, rules), end_mm)
            marks += of_rolls
        return tuple(marks)

    def _all_held(self, feed: Feed, upto_mm: float) -> Iterator[Verdict]:
        while feed.held and feed.held[0][0] <= upto_mm + CLOSE_MM:
            yield feed.held.popleft()[1]

    def _take_defects(self, feed: Feed, verdict: Verdict) -> None:
        for event in verdict.defects:
            self._defects.take(feed.view, verdict, event)

    def _settled_mm(self, upto_mm: float) -> float:
        """Return before which place no camera tells of anything more, but those that are left out."""
        settled_mm = upto_mm
        for feed in self._feeds:
            if feed.member and not feed.left_out and feed.held:
                settled_mm = min(settled_mm, feed.view.along_mm(feed.held[0][1])[0])
        return settled_mm

    def _edges(self) -> dict[str, EdgesMm]:
        """Return where the edges of the strip are seen, by side."""
        edges: dict[str, EdgesMm] = {}
        for side, feeds in self._sides.items():
            left, right = feeds[0], feeds[-1]
            near_mm = 2 * self._layout.mm_per_px
            left_mm = left.known_mm[0] if left.known_mm is not None else -math.inf
            right_mm = right.known_mm[1] if right.known_mm is not None else math.inf
            edges[side] = (
                left_mm if left_mm > left.view.camera.view_mm[0] + near_mm else None,
                right_mm if right_mm < right.view.camera.view_mm[1] - near_mm else None,
            )
        return edges

    def _narrow_mm(self, coil: RunningCoil) -> dict[str, float]:
        """Return by side how much narrower the strip looks than it must be, by the edges that its cameras see."""
        gone_mm: dict[str, float] = {}
        mm_per_px = self._layout.mm_per_px
        for side, feeds in self._sides.items():
            left, right = feeds[0].shown_mm, feeds[-1].shown_mm
            heard = all(feed.member and not feed.left_out for feed in (feeds[0], feeds[-1]))
            if len(feeds) == 1 or not heard or left is None or right is None:
                continue  # a single camera tells by itself; without an edge nothing tells
            left_seen, right_seen = (edge is not None for edge in self._edges()[side])
            columns = self._layout.column(left[0]), self._layout.column(right[1])
            edges = StripEdges(*columns, left_found=left_seen, right_found=right_seen)
            view_mm = feeds[-1].view.camera.view_mm[1] - feeds[0].view.camera.view_mm[0]
            width = self._widths.get(side, WidthExpectation())
            width = width.given(coil.conditions.data, None, round(view_mm / mm_per_px), 0.0, mm_per_px)
            expected_px = width.of(edges)
            if edges.width_px < (1.0 - WIDTH_TOLERANCE) * expected_px:
                gone_mm[side] = (expected_px - edges.width_px) * mm_per_px
            self._widths[side] = width.after(edges)
        return gone_mm


def _taken_unix_ns(timing: Timing) -> int:
    """Return when the last line was taken, in Unix time; where the record does not tell, by its host's clock."""
    if not timing.captured_ns or not timing.published_unix_ns:
        return timing.captured_ns
    return timing.published_unix_ns - (timing.published_ns - timing.captured_ns)
