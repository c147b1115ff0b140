"""An operator's commands to a running service, over its socket and from the command line."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from bright_strip import write_service

from linewatch import cli
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.client import Commander, Position, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.config.decision import SystemAlarmSettings
from linewatch.contracts.alarm import AlarmState, ShelvingState
from linewatch.contracts.errors import WireError
from linewatch.daemon.service import open_service
from linewatch.journal.journal import Journal
from linewatch.service_settings import load_settings
from linewatch.wire.schema import REPLY, AlarmMessage, AlarmReply, ErrorReply

pytestmark = pytest.mark.service

PATIENCE_S = 60.0


class Running:
    """A service on a bright strip in a thread of its own; a second start continues its journal."""

    def __init__(self, config: Path, hold_s: float = 0.0) -> None:
        self.settings, self.ready, self.hold_s = load_settings(config), threading.Event(), hold_s
        folder = config.parent
        self.publish, self.serve, self.commands = (f"ipc://{folder}/{name}" for name in ("pub", "rep", "cmd"))
        self.found = SimpleNamespace()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)

    def _run(self) -> None:
        clock = MonotonicClock()
        assert self.settings.source is not None
        camera = open_camera(self.settings.source, self.settings.line, clock, live=False)
        with (
            PacedCamera(camera, clock, "line-rate") as paced,
            open_service(self.settings, paced, clock) as self.found.service,
        ):
            self.found.service.run(self.ready.set, hold_s=self.hold_s)

    def stop(self) -> None:
        self.found.service.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def wait_for(self, rule: str) -> AlarmMessage:
        """Wait until an alarm of that rule asks for an operator."""
        with Subscriber(self.publish, self.serve, ["alarm"], since="epoch") as listening:
            for _ in range(600):
                message = listening.poll(1.0)
                if isinstance(message, AlarmMessage) and message.rule == rule and message.state is AlarmState.RAISED:
                    return message
        raise AssertionError(f"no alarm of {rule}")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_service(tmp_path, frames=1500, frames_per_s=50)


@pytest.fixture
def service(config: Path) -> Iterator[Running]:
    running = Running(config)
    yield running
    running.stop()


def test_acknowledged_and_shelved_stays_so_over_a_restart_and_the_same_request_has_the_same_answer(
    config: Path,
) -> None:
    service = Running(config)
    alarm = service.wait_for("latched")
    with Commander(service.commands) as commander:
        done = commander.acknowledge(alarm.id, token="the-first-one", by="ann")
        shelf = commander.shelve("square", 10.0, token="the-second", by="ann", comment="the roll is being changed")
        assert commander.acknowledge(alarm.id, token="the-first-one", by="ann").changed == done.changed
        with pytest.raises(RefusedError, match="its token names another request"):
            commander.shelve("square", 20.0, token="the-first-one")
    assert [(body.id, body.command and body.command.by) for body in done.changed] == [(alarm.id, "ann")]
    service.stop()

    service = Running(config)
    try:
        snapshot = ask_snapshot(service.serve)
        shelves = [body for body in snapshot.suppressed_or_shelved if body.id == "square"]
        assert [body.shelved_until_unix_ns for body in shelves] == [shelf.changed[0].shelved_until_unix_ns]
        assert shelves[0].text == "square: shelved for 10 min by ann: the roll is being changed"
        assert shelves[0].command.comment == "the roll is being changed"
        with Commander(service.commands) as commander:
            assert commander.acknowledge(alarm.id, token="the-first-one").changed == done.changed
            assert commander.shelve("square", 10.0, token="the-second").changed == shelf.changed
            released = commander.unshelve("square").changed
        assert released[0].shelving_state is ShelvingState.UNSHELVED
        with Subscriber(service.publish, service.serve, ["alarm"], positions={"alarm": Position(1, 0)}) as listening:
            told = []
            while not told or told[-1].command != released[-1].command:
                message = listening.poll(PATIENCE_S)
                assert isinstance(message, AlarmMessage)
                told.append(message)
        tokens = [message.command.token for message in told if message.command]
        assert tokens.count("the-first-one") == len(done.changed)
        assert tokens.count("the-second") == len(shelf.changed)
    finally:
        service.stop()


def test_what_is_no_command_is_refused_and_nothing_changes(service: Running) -> None:
    service.wait_for("square")
    good = {
        "schema_version": 1,
        "request": "alarm",
        "id": 3,
        "token": "abcdefgh",
        "action": "shelve",
        "alarm": "square",
    }
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(service.commands)

        def ask(request: bytes) -> AlarmReply | ErrorReply:
            dealer.send(request)
            assert dealer.poll(10_000)
            return REPLY.validate_json(dealer.recv())

        for changes, said in [
            ({"token": "short"}, "token"),
            ({"token": "a" * 65}, "token"),
            ({"action": "silence"}, "action"),
            ({"alarm": None}, "needs an alarm"),
            ({"alarm": "x" * 513}, "alarm"),
            ({"minutes": -1}, "minutes"),
            ({"minutes": 1e9}, "minutes"),
            ({"minutes": "5"}, "minutes"),
            ({"action": "unshelve", "minutes": 5}, "has no minutes"),
            ({"by": "x" * 65}, "by"),
            ({"why": "it beeps"}, "why"),
            ({"request": "reboot"}, "reboot"),
            ({"schema_version": 2}, "schema version 2"),
            ({"alarm": "nobody"}, "the rules are square, latched, many"),
            ({"minutes": 500.0, "token": "too-long-a-time"}, "at most 480"),
        ]:
            reply = ask(json.dumps({**good, **changes}).encode())
            assert isinstance(reply, ErrorReply), changes
            assert said in reply.text
        assert isinstance(ask(b"\xff" * 5000), ErrorReply)
        reply = ask(json.dumps({**good, "token": "it-still-works"}).encode())
        assert isinstance(reply, AlarmReply)
        assert reply.id == 3
    assert not [body for body in ask_snapshot(service.serve).suppressed_or_shelved if body.id == "nobody"]


def test_the_command_line(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    alarm = service.wait_for("latched")
    to, at = ["--commands", service.commands], ["--serve", service.serve]

    def said(*arguments: str) -> str:
        assert cli.main([*arguments]) == 0
        return capsys.readouterr().out

    assert alarm.id in said("alarms", *at)
    assert "to acknowledge" in said("alarms", *at)
    acknowledged = said("ack", alarm.id, "--by", "ann", *to)
    assert f"{alarm.id}: acknowledged" in acknowledged or f"{alarm.id}: over" in acknowledged
    said("ack", "--all", *to)
    assert "already in that state" in said("unshelve", "square", *to)
    assert "square: shelved until" in said("shelve", "square", "--minutes", "30", *to)
    listed = json.loads(said("alarms", "--json", *at).splitlines()[-1])
    assert [body["command"]["by"] for body in listed["standing"] if body["id"] == alarm.id] in ([], ["ann"])
    assert "square" in [body["id"] for body in listed["suppressed_or_shelved"]]
    assert "shelved until" in said("alarms", *at)
    assert json.loads(said("unshelve", "square", "--json", *to).splitlines()[-1])["changed"]
    assert cli.main(["ack", *to]) == 2
    assert cli.main(["ack", "nobody", *to]) == WireError.exit_code
    assert "`linewatch alarms` lists what stands" in capsys.readouterr().err


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command may have been carried out: the error names the token to repeat it with."""
    with (
        Commander(f"ipc://{tmp_path}/nobody", answer_timeout_s=0.2) as commander,
        pytest.raises(NoAnswerError, match="send it again with token the-same"),
    ):
        commander.acknowledge(token="the-same")


def test_behind_the_end_of_the_source_commands_are_refused(tmp_path: Path) -> None:
    service = Running(write_service(tmp_path, frames=10, frames_per_s=500), hold_s=PATIENCE_S)
    try:
        with Commander(service.commands) as commander:
            for _ in range(200):
                try:
                    commander.shelve("square", 1.0)
                except RefusedError as error:
                    assert "its source has ended" in str(error)  # noqa: PT017
                    break
            else:
                pytest.fail("it never ended")
    finally:
        service.stop()


def test_a_live_service_tells_of_its_host(settings, tmp_path: Path) -> None:
    """A low disk and a silent camera raise alarms from real measurements, journaled and cleared when they end."""
    assert settings.source is not None
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / (1 << 20)
    system = SystemAlarmSettings(disk_free_below_mb=free_mb * 2, camera_silent_s=0.2)
    changed = settings.model_copy(
        update={
            "system_alarms": system,
            "line": settings.line.model_copy(update={"line_rate_hz": 1500.0}),
            "source": settings.source.model_copy(update={"length_m": 50.0}),
        }
    )
    clock, ready, found = MonotonicClock(), threading.Event(), SimpleNamespace()

    def run() -> None:
        with (
            open_camera(changed.source, changed.line, clock, live=True) as camera,
            open_service(changed, camera, clock) as found.service,
        ):
            found.service.run(ready.set)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        told: dict[str, list[str]] = {}
        endpoints = found.service.publisher.endpoint, found.service.server.endpoint
        with Subscriber(*endpoints, ["alarm"], since="epoch") as listening:
            for _ in range(300):
                message = listening.poll(1.0)
                if isinstance(message, AlarmMessage):
                    told.setdefault(message.rule, []).append(message.change)
                if "disk-low" in told and len(told.get("camera-silent", ())) >= 2:
                    break
        assert told["disk-low"] == ["active"]
        assert told["camera-silent"][:2] == ["active", "inactive"], "while threading a frame takes longer than that"
    finally:
        found.service.stop()
        thread.join(PATIENCE_S)


def test_a_file_that_is_edited_under_a_service_does_not_change_whose_decisions_they_are_said_to_be(
    tmp_path: Path,
) -> None:
    """`config` of a coil names the taxonomy and rules that were read at the start."""
    config = write_service(tmp_path, frames=20, frames_per_s=200)
    taxonomy = tmp_path / "taxonomy.toml"
    taxonomy.write_text((Path(__file__).parents[2] / "configs" / "taxonomy.toml").read_text())
    config.write_text(f'taxonomy = "{taxonomy}"\n{config.read_text()}')
    settings, clock = load_settings(config), MonotonicClock()
    assert settings.source is not None
    read = settings.identity()
    camera = open_camera(settings.source, settings.line, clock, live=False)
    with open_service(settings, camera, clock) as service:
        taxonomy.write_text(taxonomy.read_text() + "\n# edited\n")
        service.run(lambda: None)
    assert settings.identity() != read
    with Journal(settings.journal) as journal:
        told = {json.loads(record.header)["config"] for record in journal.read(1, "coil", 0, 1 << 40)}
    assert told == {read}
