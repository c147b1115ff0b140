"""A camera's service that says nothing holds up nothing, is told to everybody, and is put right when it comes back."""

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import wide_strip
from strip_line import StripLine, strip_line
from waiting import wait_until

from linewatch.client import Commander, Lost, Subscriber
from linewatch.client.requests import RefusedError
from linewatch.wire.access.audit import read_audit
from linewatch.wire.schema import AlarmMessage, AnyMessage, CoilMessage, FrameMessage, StatusMessage

pytestmark = [pytest.mark.service, pytest.mark.heavy]

FRAMES = 150
PER_S = 25.0


class Consumer:
    """What a consumer of the joined record hears."""

    def __init__(self, wire: Subscriber) -> None:
        self._wire = wire
        self.heard: list[AnyMessage] = []

    def wait_for(self, wanted: Callable[[AnyMessage], object]) -> AnyMessage:
        """Return the first message of this kind that comes from now on."""

        def found() -> AnyMessage | None:
            message = self._wire.poll(0.2)
            assert not isinstance(message, Lost), message
            if message is None:
                return None
            self.heard.append(message)
            return message if wanted(message) else None

        return wait_until(found, 40.0)

    def ever(self, wanted: Callable[[AnyMessage], object]) -> AnyMessage:
        """Return the newest message of this kind, or the first that comes."""
        return next((one for one in reversed(self.heard) if wanted(one)), None) or self.wait_for(wanted)


def commands_of(line: StripLine, camera: str) -> list[dict]:
    path = line.of(camera) / "commands"
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def test_a_silent_camera_is_told_and_put_right(tmp_path: Path) -> None:
    """From the first silent frame to the last correction, as a consumer, an operator and a PLC see it."""
    mask = wide_strip.blobs(np.random.default_rng(5), 32 * FRAMES, 60)
    with strip_line(tmp_path) as line:
        line.write(strip="wait_s = 1.0")
        for one in wide_strip.by_cameras(mask, line.settings):
            line.play(one.key, PER_S, one.decided, go=False)
        line.start()
        with (
            closing(Subscriber(line.publish, line.serve, since="epoch")) as wire,
            Commander(line.commands) as commander,
        ):
            strip, silent = Consumer(wire), line.processes["top/cam2"]
            strip.wait_for(lambda one: isinstance(one, StatusMessage) and one.healthy)
            line.go("top/cam1", "top/cam2", "top/cam3")
            strip.wait_for(lambda one: isinstance(one, FrameMessage) and one.ordinal >= 8)
            check_commands_reach_all(line, commander)
            silent.send_signal(signal.SIGSTOP)
            alarm = check_silence_is_told(strip)
            line.go("top/cam1", "top/cam3", on=False)
            assert [one.change for one in commander.acknowledge(alarm.id, by="ann").changed] == ["acknowledged"]
            with pytest.raises(RefusedError, match=r"top/cam1, top/cam3 have taken it, others have not: top/cam2: no"):
                commander.end_coil(token="token-of-end")
            silent.send_signal(signal.SIGCONT)
            strip.wait_for(lambda one: isinstance(one, StatusMessage) and one.healthy)
            commander.end_coil(token="token-of-end")
            assert len({one["at_mm"] for one in commands_of(line, "top/cam2")}) == 2
            line.go("top/cam1", "top/cam3")
            strip.wait_for(lambda one: isinstance(one, FrameMessage) and one.corrections)
            ended = strip.wait_for(lambda one: isinstance(one, CoilMessage) and one.state == "ended")
            assert isinstance(ended, CoilMessage)
            assert ended.along_mm == FRAMES * 32
            assert "silent" not in ended.missed_lines_by_cause, "all of it was put right"
        assert line.kill("strip", signal.SIGTERM) == 0
        frames = [one for one in strip.heard if isinstance(one, FrameMessage)]
        assert [one.first_line for one in frames] == list(range(0, FRAMES * 32, 32))
        changes = [one.change for one in strip.heard if isinstance(one, AlarmMessage) and one.id == alarm.id]
        assert changes == ["active", "acknowledged", "inactive"]
        audit = [one for one in read_audit(tmp_path / "journal" / "audit") if one.get("event") == "command"]
        assert [one["outcome"] == "refused" for one in audit] == [False, True, False, True, False]


def check_commands_reach_all(line: StripLine, commander: Commander) -> None:
    reply = commander.start_coil("NEXT", token="token-of-next", by="ann")
    orders = [commands_of(line, camera.key)[-1] for camera in line.settings.camera]
    assert [(one["coil"], one["token"]) for one in orders] == [("NEXT", "token-of-next")] * 3
    assert len({one["at_mm"] for one in orders}) == 1, "every camera divides the strip at the same place"
    assert orders[0]["at_mm"] > 8 * 32
    assert reply.now.coil == "C1"
    with pytest.raises(RefusedError, match="no camera has taken it: top/cam1: that name is taken"):
        commander.start_coil("refused")


def check_silence_is_told(strip: Consumer) -> AlarmMessage:
    missed = strip.wait_for(lambda one: isinstance(one, FrameMessage) and "silent" in str(one.spans))
    assert isinstance(missed, FrameMessage)
    assert set(missed.spans[-1].uninspected_mm2_by_camera) == {"top/cam2"}
    assert missed.spans[-1].inspected_mm2, "the shares of the others are inspected"
    out = strip.wait_for(lambda one: isinstance(one, StatusMessage) and one.cameras[1].state == "silent")
    assert isinstance(out, StatusMessage)
    assert not out.healthy
    assert out.failure is not None
    assert "top/cam2: no heartbeat" in out.failure
    later = strip.wait_for(lambda one: isinstance(one, StatusMessage))
    assert isinstance(later, StatusMessage)
    assert later.heartbeat == out.heartbeat, "a PLC sees the heartbeat stand"
    alarm = strip.ever(lambda one: isinstance(one, AlarmMessage) and one.rule == "camera-out" and one.retain)
    assert isinstance(alarm, AlarmMessage)
    assert "top/cam2" in alarm.text
    return alarm
