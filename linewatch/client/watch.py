"""`linewatch watch`: a running service in the terminal."""

import time
from collections import deque
from contextlib import suppress

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Lost, Subscriber
from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import Quality, StripArea
from linewatch.terminal import percent, plain_console
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    DefectMessage,
    FrameMessage,
    PictureReadingStatus,
    RollMarkMessage,
    Snapshot,
    StatusMessage,
    canonical,
)

SHOWN_DEFECTS = 12
SHOWN_ALARMS = 6
SHOWN_ROLLS = 4
SILENCE_S = 1.0
REFRESH_HZ = 4


class Board:
    """The content of the display: the newest status, alarms, roll marks and defects."""

    def __init__(self) -> None:
        self.status: StatusMessage | None = None
        self.coil = ""
        self.area = StripArea()
        self.length_mm = 0.0
        self.defects: deque[DefectMessage] = deque(maxlen=SHOWN_DEFECTS)
        self.alarms: dict[str, AlarmBody] = {}
        self.rolls: dict[str, RollMarkMessage] = {}
        self.lost = 0

    def take(self, message: AnyMessage | Lost) -> None:
        """Follow one message."""
        match message:
            case StatusMessage():
                self.status = message
            case DefectMessage():
                kept = [defect for defect in self.defects if defect.id != message.id]
                self.defects = deque([*kept, message], maxlen=SHOWN_DEFECTS)
            case AlarmMessage():
                self.alarms.pop(message.id, None)
                if message.state == "raised":
                    self.alarms[message.id] = message
            case RollMarkMessage():
                self.rolls.pop(message.id, None)
                if message.state != "ended":
                    self.rolls[message.id] = message
            case CoilMessage():
                self.coil = f"{message.coil} {message.state}" + (f", {message.grade.text}" if message.grade else "")
            case FrameMessage():
                self.length_mm += message.along_mm[1] - message.along_mm[0]
                for sign, span in message.signed_spans:
                    self.area = self.area.plus(span.area or StripArea(), sign)
            case Lost():
                self.lost += 1

    def show_standing(self, snapshot: Snapshot) -> None:
        """Show the alarms that stood before the first message."""
        self.alarms = {alarm.id: alarm for alarm in snapshot.standing_alarms}

    def render(self, heartbeat_age_s: float) -> Group:
        """Return the whole display."""
        rolls = [self._roll_table()] if self.rolls else []
        return Group(self._head(heartbeat_age_s), self._alarm_table(), *rolls, self._defect_table())

    def _head(self, age_s: float) -> Text:
        status = self.status
        if status is None:
            return Text("waiting for the service ...", style="yellow")
        area = self.area
        parts = zip(Quality, (area.inspected_mm2, area.degraded_mm2, area.missed_mm2), strict=True)
        shares = [f"{quality} {percent(mm2 / area.passed_mm2)}" for quality, mm2 in parts if mm2]
        seen = f"{self.length_mm / 1000:.1f} m, of its area {', '.join(shares)}" if shares else ""
        text = Text()
        if age_s > SILENCE_S or not status.healthy:
            text.append(f"NOT INSPECTING: heartbeat {age_s:.1f} s old, {status.failure or status.state}\n", "bold red")
        text.append(f"{self.coil or status.coil}  {(status.along_mm or 0) / 1000:.1f} m  {status.quality}  ", "bold")
        ring = f"ring {status.ring_free}/{status.ring_slots} free"
        text.append(f"{status.frames_per_s:.1f} frames/s  {status.defects} defects  {ring}\n")
        if status.shed:
            text.append(f"overload: skipping {', '.join(status.shed)}\n", "yellow")
        if status.beside is not None:
            beside = status.beside
            share = (
                f", agrees with the running engine on {beside.agreed} of {beside.tiles} tiles" if beside.tiles else ""
            )
            text.append(f"engine beside: {beside.name} {beside.state}{share}\n")
        if status.picture is not None and (poor := [one for one in status.picture.readings if one.bad]):
            text.append(f"picture: {', '.join(map(_told, poor))}\n", "yellow")
        if status.alarms_unacknowledged:
            text.append(f"{status.alarms_unacknowledged} alarms to acknowledge\n", "bold red")
        text.append(
            f"since this display started: {seen or 'nothing yet'}"
            + (f"  {self.lost} gaps could not be filled" if self.lost else "")
        )
        return text

    def _alarm_table(self) -> Table:
        table = Table(title="standing alarms", title_justify="left", expand=True)
        for column in ("priority", "rule", "coil", "at m", "text"):
            table.add_column(column)
        for alarm in list(self.alarms.values())[-SHOWN_ALARMS:]:
            style = "yellow" if alarm.acked_state else "red"
            what = f"acknowledged: {alarm.text}" if alarm.acked_state else alarm.text
            table.add_row(alarm.priority, alarm.rule, alarm.coil, f"{alarm.along_mm / 1000:.2f}", what, style=style)
        return table

    def _roll_table(self) -> Table:
        table = Table(title="roll marks", title_justify="left", expand=True)
        for column in ("class", "pitch mm", "across mm", "since m", "marks", "suspected rolls"):
            table.add_column(column)
        for roll in list(self.rolls.values())[-SHOWN_ROLLS:]:
            suspects = ", ".join(f"{s.roll} ({s.stand}) {s.share:.0%}" for s in roll.suspects[:3])
            table.add_row(
                roll.defect_class,
                f"{roll.pitch_mm:.1f} ± {roll.pitch_error_mm:.1f}",
                f"{roll.across_mm[0]:.0f}-{roll.across_mm[1]:.0f}",
                f"{roll.along_mm[0] / 1000:.2f}",
                f"{roll.marks} of {roll.marks_due}",
                suspects or "none configured fits",
                style="magenta",
            )
        return table

    def _defect_table(self) -> Table:
        table = Table(title="newest defects", title_justify="left", expand=True)
        for column in ("class", "state", "along m", "across mm", "mm2", "probability"):
            table.add_column(column)
        for defect in reversed(self.defects):
            table.add_row(
                f"{defect.defect_class} (tentative)" if defect.tentative else defect.defect_class,
                defect.state,
                f"{defect.along_mm[0] / 1000:.3f}-{defect.along_mm[1] / 1000:.3f}",
                f"{defect.across_mm[0]:.0f}-{defect.across_mm[1]:.0f}",
                f"{defect.area_mm2:.0f}",
                f"{defect.probability:.2f}",
                style="dim" if defect.tentative else None,
            )
        return table


def _told(one: PictureReadingStatus) -> str:
    beyond = "above" if one.high else "below"
    place = f" at {one.place}" if one.place else ""
    return f"{one.quantity} {one.value:.3g}{place}, {beyond} {one.limit:g}"


def watch(
    publish: str, serve: str | None, *, for_s: float | None, as_json: bool, keys: ClientKeys | None = None
) -> None:
    """Follow a service until interrupted, or for `for_s`. Raises WireError for an invalid endpoint or key."""
    end_s = time.monotonic() + (for_s if for_s is not None else float("inf"))
    with Subscriber(publish, serve or next_port(publish), keys=keys) as subscriber:
        if as_json:
            while time.monotonic() < end_s:
                message = subscriber.poll(0.2)
                if message is not None and not isinstance(message, Lost):
                    print(canonical(message.model_dump()).decode(), flush=True)
            return
        board = Board()
        with Live(board.render(0.0), console=plain_console(), refresh_per_second=REFRESH_HZ) as live:
            shown_s = 0.0
            while time.monotonic() < end_s:
                message = subscriber.poll(0.1)
                if message is not None:
                    new = isinstance(message, StatusMessage) and (
                        board.status is None or board.status.epoch != message.epoch
                    )
                    board.take(message)
                    if new:
                        with suppress(WireError):  # then only new alarms are shown
                            board.show_standing(subscriber.snapshot())
                if time.monotonic() - shown_s > 1 / REFRESH_HZ:
                    shown_s = time.monotonic()
                    live.update(board.render(subscriber.heartbeat_age_s))


def next_port(publish: str) -> str:
    """Return the serve endpoint by its default, one port above. Raises WireError where there is no port."""
    head, _, port = publish.rpartition(":")
    if not publish.startswith("tcp://") or not port.isdecimal():
        raise WireError(f"the serve endpoint that belongs to {publish!r} is unknown; give it with --serve ENDPOINT")
    return f"{head}:{int(port) + 1}"
