"""An S7 bridge serves a PLC that is gone, stopped, wrongly programmed and slow, and takes each of its commands once."""

import json
import signal
from contextlib import closing

import pytest
from bridge_and_plc import PATIENCE_S, Bridge
from real_service import RealService
from s7_plc import COMMANDS, STATUS, S7Plc, s7_config
from waiting import wait_until

from linewatch.client import Commander, Subscriber
from linewatch.plant.s7.settings import S7Settings
from linewatch.plant.s7.source import block_source
from linewatch.wire.schema import StatusMessage

pytestmark = pytest.mark.service

SCRATCHES, ALL = 17, 64
OK, REFUSED, NO_ANSWER, NOTHING, TOO_NEW = range(1, 6)
START, END, DATA = 1, 2, 3


@pytest.fixture
def plc():
    with closing(S7Plc(block_source(S7Settings()))) as plc:
        plc.start()
        yield plc


@pytest.fixture
def start(tmp_path):
    """Starts bridges that end with the test."""
    started = []

    def start(service, plc, **options: str) -> Bridge:
        started.append(Bridge("s7", s7_config(tmp_path, service, plc.port, **options)))
        return started[-1]

    yield start
    for bridge in started:
        bridge.process.kill()
        bridge.join()


def told_of_bridge(service, text: str) -> str:
    """Return what the service's status tells of the bridge once that contains a text; "": once it has no trouble."""
    with Subscriber(service.publish, service.serve, ["status"]) as subscriber:

        def come() -> list[str] | None:
            message = subscriber.poll(0.2)
            told = [one.text or "" for one in message.bridges] if isinstance(message, StatusMessage) else []
            return told if told and text in told[0] and bool(text) == bool(told[0]) else None

        return wait_until(come, PATIENCE_S)[0]


def test_a_plc_that_goes_stops_or_has_the_wrong_block_is_told_and_served_again(start_service, plc, start):
    service = start_service()
    bridge = start(service, plc)
    plc.wait_for(state=2)
    service.tell("coil started")
    service.tell("frames 2 3")
    service.tell("alarm")
    plc.wait_for(state=2, layout_version=1, coil_state=1, coil_id="C1", defect_1__number=2, defect_1__class_code=8)
    wait_until(lambda: plc.read("unacknowledged")[SCRATCHES] and plc.read("alarm")[SCRATCHES], PATIENCE_S)
    wait_until(lambda: plc.read("write_begin") == plc.read("write_end"), PATIENCE_S)
    assert plc.read("defect[1].confidence") == pytest.approx(0.9123, abs=1e-4)
    heartbeat = plc.read("heartbeat")
    wait_until(lambda: plc.read("heartbeat") > heartbeat, PATIENCE_S)
    assert told_of_bridge(service, "") == ""

    plc.go()
    assert str(plc.port) in told_of_bridge(service, "127.0.0.1")
    whole, plc.blocks[STATUS] = plc.blocks[STATUS], bytearray(200)
    plc.start()
    assert f"expected {len(whole)} bytes with standard access" in told_of_bridge(service, "DB 100")
    plc.go()
    plc.blocks[STATUS] = bytearray(len(whole))
    plc.start()
    service.tell("frames 1 3")
    plc.wait_for(state=2, defect_1__number=3)
    service.kill()
    plc.wait_for(state=0, quality=0, coil_id="C1")
    service.start()
    plc.wait_for(state=2)
    assert bridge.end(signal.SIGTERM) == 0
    assert plc.read("state") == 0, "the PLC reads at once that nobody tells it any more"


def coil_orders(service: RealService) -> list[dict]:
    """Return the commands about coils that it has on disk."""
    lines = (service.folder / "journal" / "coil-orders.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_commands_of_a_plc_are_carried_out_once_and_answered(tmp_path, plc, start):
    service = RealService(tmp_path / "real")
    commands = f'[commands]\ncommands = "{service.commands}"\nsteady_s = 0.3\ngive_up_s = 60.0'
    try:
        bridge = start(service, plc, more=commands, bits="latched = 17")
        plc.wait_for(state=2)
        number = plc.command(
            "coil_number", coil_action=DATA, coil_id="C-2", product="exposed", thickness=0.8, coil_at=-1
        )
        plc.wait_for(coil_answered=number, coil_result=OK, coil_answer="")
        number = plc.command("coil_number", coil_action=START)
        plc.wait_for(coil_answered=number, coil_result=OK, coil_id="C-2")
        with Commander(service.commands) as commander:
            data = commander.show_coil().now.data
        assert (data.coil, data.product, data.thickness_mm, data.steel_grade) == ("C-2", "exposed", 0.8, None)

        # What the service refuses, and what is no command, is answered as well.
        number = plc.command("coil_number", coil_action=END, coil_id="C-9")
        plc.wait_for(coil_answered=number, coil_result=REFUSED)
        assert "C-9" in plc.read("coil_answer")
        number = plc.command("coil_number", coil_action=77)
        plc.wait_for(coil_answered=number, coil_result=REFUSED)
        assert plc.read("coil_answer").startswith("coil_action is 77")

        wait_until(lambda: plc.read("unacknowledged")[SCRATCHES], PATIENCE_S)

        def acknowledged() -> bool:
            number = plc.command("acknowledge_number", acknowledge=[SCRATCHES, 3])
            plc.wait_for(acknowledge_answered=number)
            results = plc.read("acknowledge_results")
            assert results[3] == NOTHING
            assert results[SCRATCHES] in (OK, TOO_NEW, NOTHING)
            return results[SCRATCHES] == OK

        wait_until(acknowledged, PATIENCE_S)

        # A program that has counted and counts no longer is told, until it counts again.
        plc.put("plc_heartbeat", 7)
        assert "plc_heartbeat stands at 7" in told_of_bridge(service, "its program does not run")
        plc.put("plc_heartbeat", 8)
        assert told_of_bridge(service, "") == ""

        # A bridge that is killed finds in the PLC what it has answered, and repeats nothing.
        bridge.end(signal.SIGKILL)
        answered = plc.read("coil_answered"), plc.read("acknowledge_answered")
        plc.blocks[STATUS][plc.status["state"][0] + 1] = 9
        bridge = start(service, plc, more=commands, bits="latched = 17")
        plc.wait_for(state=2)
        assert (plc.read("coil_answered"), plc.read("acknowledge_answered")) == answered
        assert bridge.end() == 0
    finally:
        service.kill()
    assert [(one["action"], one["coil"] or one["data"]["coil"], one["by"]) for one in coil_orders(service)] == [
        ("data", "C-2", "s7 127.0.0.1"),
        ("start", "C-2", "s7 127.0.0.1"),
    ]
    by_command = [one["command"] for one in service.acknowledged()]
    assert {(one["action"], one["by"]) for one in by_command} == {("acknowledge", "s7 127.0.0.1")}


def test_a_command_under_way_is_sent_again_by_a_new_bridge_with_the_same_token(tmp_path, start_service, plc, start):
    """Nobody answers commands: the first bridge dies with the command, and the second one takes it up."""
    service = start_service()
    commands = f'[commands]\ncommands = "ipc://{tmp_path}/nobody"\ngive_up_s = 1.0'
    bridge = start(service, plc, more=commands.replace("1.0", "300.0"))
    plc.wait_for(state=2)
    number = plc.command("coil_number", coil_action=END, coil_id="C1")
    wait_until(lambda: plc.read("write_end") > 0, PATIENCE_S)
    assert plc.read("coil_answered") == 0
    bridge.end(signal.SIGKILL)
    start(service, plc, more=commands)
    plc.wait_for(coil_answered=number, coil_result=NO_ANSWER)
    assert plc.blocks[COMMANDS]
