"""A PLC acknowledges by coils: only the alarm that it read, and once, although service or bridge are killed."""

import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from bridge_and_plc import PATIENCE_S, ROOT
from real_service import RealService
from waiting import wait_until

pytestmark = pytest.mark.service

RUNNING = 2
OK, REFUSED, NO_ANSWER, NOTHING, TOO_NEW = range(1, 6)
SCRATCHES, ALL = 17, 64
NOWHERE = '[acknowledge]\ncommands = "ipc:///nowhere/cmd"\ngive_up_s = 1.0\nsteady_s = {steady_s}'


@pytest.fixture
def real_service(tmp_path):
    (tmp_path / "real").mkdir()
    service = RealService(tmp_path / "real")
    yield service
    service.kill()


def acknowledging(service, give_up_s: float = 60.0, steady_s: float = 0.3) -> str:
    return f'[acknowledge]\ncommands = "{service.commands}"\ngive_up_s = {give_up_s}\nsteady_s = {steady_s}'


def waiting_alarm(plc, bit: int) -> int:
    """Return the number of an alarm of that bit that waits for an acknowledgement and is no longer new."""
    number, since_s = 0, 0.0

    def steady() -> int:
        nonlocal number, since_s
        values = plc.read()
        found = values["alarm_numbers"][bit] if values["unacknowledged_words"] >> bit & 1 else 0
        if found != number:
            number, since_s = found, time.monotonic()
        return number if time.monotonic() - since_s > 0.5 else 0

    return wait_until(steady, PATIENCE_S)


def result_of(plc, coil: int) -> int:
    """Return the result of a write once the coil reads 0 again."""
    wait_until(lambda: not plc.client.read_coils(coil, count=1).bits[0], 2 * PATIENCE_S)
    return plc.client.read_holding_registers(300 + coil, count=1).registers[0]


def test_a_coil_acknowledges_the_alarm_of_its_bit(real_service, start_bridge, connect):
    bridge = start_bridge(real_service, more=acknowledging(real_service), bits="latched = 17")
    plc = connect(bridge)
    first = waiting_alarm(plc, SCRATCHES)
    assert not plc.client.write_coil(SCRATCHES, True).isError()
    assert result_of(plc, SCRATCHES) == OK

    def gone() -> bool:
        values = plc.read()
        waits = values["unacknowledged_words"] >> SCRATCHES & 1
        return not waits or values["alarm_numbers"][SCRATCHES] != first  # or the next alarm, by another number

    wait_until(gone, PATIENCE_S)
    real_service.kill()
    (told,) = real_service.acknowledged()
    assert (told["rule"], told["acked_state"]) == ("latched", True)
    assert (told["command"]["action"], told["command"]["by"]) == ("acknowledge", "modbus 127.0.0.1")


def test_one_coil_acknowledges_all_that_stand_with_a_bit_or_without(real_service, start_bridge, connect):
    bridge = start_bridge(real_service, more=acknowledging(real_service), bits="unused = 3")
    plc = connect(bridge)
    plc.wait_for(state=RUNNING)

    def write_anew() -> int:
        """Return the result of a new edge on the coil, 0 while there is no alarm for it."""
        assert not plc.client.write_coils(ALL, [False]).isError()
        assert not plc.client.write_coils(ALL, [True]).isError()
        result = result_of(plc, ALL)
        return 0 if result in (NOTHING, TOO_NEW) else result

    result = wait_until(write_anew, PATIENCE_S)
    real_service.kill()
    told = {record["id"] for record in real_service.acknowledged()}
    assert result in (OK, REFUSED)  # a rule that does not latch may be over by itself in between
    assert any(name.startswith("latched/") for name in told)


def test_what_was_written_while_the_service_is_down_is_carried_out_once_when_it_is_back(
    real_service, start_bridge, connect
):
    bridge = start_bridge(real_service, more=acknowledging(real_service), bits="latched = 17")
    plc = connect(bridge)
    waiting_alarm(plc, SCRATCHES)
    real_service.kill()
    plc.client.write_coil(SCRATCHES, True)
    assert plc.client.read_coils(SCRATCHES, count=1).bits[0], "nobody has carried it out"
    assert plc.wait_for(state=0)["acknowledge_results"][SCRATCHES] == 0
    real_service.start()
    assert result_of(plc, SCRATCHES) == OK
    real_service.kill()
    (told,) = real_service.acknowledged()
    assert told["acked_state"]


@pytest.mark.heavy
def test_a_service_that_is_killed_while_it_carries_them_out_acknowledges_each_once(real_service, start_bridge, connect):
    """Nor is an alarm acknowledged twice when the bridge is killed too and the PLC writes again."""
    result = 0
    for cycle in range(4):
        bridge = start_bridge(real_service, more=acknowledging(real_service), bits="latched = 17")
        plc = connect(bridge)
        waiting_alarm(plc, SCRATCHES)
        plc.client.write_coil(SCRATCHES, True)
        plc.client.read_coils(SCRATCHES, count=30 * cycle or 1)  # kill it at another moment in each cycle
        real_service.kill()
        if cycle % 2:
            bridge.end(signal.SIGKILL)
            real_service.start()
            continue
        real_service.start()
        result = result_of(plc, SCRATCHES)
        assert result == OK
        bridge.end()
    real_service.kill()
    # The strip begins anew with each start, so an alarm that was over may come again by the same id.
    times: dict[str, int] = {}
    for told in real_service.transitions():
        if told["change"] == "active":
            times[told["id"]] = 0
        elif told["command"] is not None:
            times[told["id"]] += 1
        assert times[told["id"]] <= 1, f"acknowledged twice: {told}"
    tokens = [told["command"]["token"] for told in real_service.acknowledged()]
    assert len(tokens) == len(set(tokens)) >= 2


def test_another_alarm_under_the_same_bit_is_not_acknowledged_in_its_place(start_service, start_bridge, connect):
    service = start_service()
    plc = connect(start_bridge(service, more=NOWHERE.format(steady_s=5.0)))
    service.tell("coil started")
    plc.wait_for(state=RUNNING, coil_state=1)
    service.tell("alarm")
    before = plc.wait_for(unacknowledged_words=1 << SCRATCHES)["alarm_numbers"][SCRATCHES]
    service.tell("clear")
    service.tell("alarm")
    plc.client.write_coil(SCRATCHES, True)
    values = plc.wait_for(alarms_standing=1)
    assert values["acknowledge_results"][SCRATCHES] in (TOO_NEW, NOTHING)
    assert plc.wait_for(unacknowledged_words=1 << SCRATCHES)["alarm_numbers"][SCRATCHES] == before + 1


def test_an_answer_that_does_not_come_holds_up_nobody_and_is_told(start_service, start_bridge, connect):
    service = start_service()
    bridge = start_bridge(service, more=NOWHERE.format(steady_s=0.2))
    plc = connect(bridge)
    plc.wait_for(state=RUNNING)
    service.tell("alarm")
    waiting_alarm(plc, SCRATCHES)
    plc.client.write_coil(SCRATCHES, True)
    heartbeat = plc.read()["heartbeat"]
    assert plc.client.read_coils(0, count=65).bits[:65] == [coil == SCRATCHES for coil in range(65)]
    plc.wait_beyond(heartbeat + 1)
    assert result_of(plc, SCRATCHES) == NO_ANSWER
    assert plc.read()["unacknowledged_words"] == 1 << SCRATCHES


def test_the_service_may_refuse(real_service, start_service, start_bridge, connect):
    """The bridge follows one service and commands another, which knows no such alarm."""
    service = start_service()
    bridge = start_bridge(service, more=acknowledging(real_service))
    plc = connect(bridge)
    plc.wait_for(state=RUNNING)
    service.tell("alarm")
    waiting_alarm(plc, SCRATCHES)
    plc.client.write_coil(SCRATCHES, True)
    assert result_of(plc, SCRATCHES) == REFUSED
    assert "no such alarm stands" in bridge.wait_for("command_not_carried_out")["why"]


def test_a_coil_that_is_held_at_one_asks_once_and_zero_asks_for_nothing(start_service, start_bridge, connect):
    service = start_service()
    bridge = start_bridge(service, more=NOWHERE.format(steady_s=0.5))
    plc = connect(bridge)
    plc.wait_for(state=RUNNING)
    service.tell("alarm")
    waiting_alarm(plc, SCRATCHES)
    plc.client.write_coils(0, [False] * 65)
    assert result_of(plc, SCRATCHES) == 0
    end_s = time.monotonic() + 3.0
    while time.monotonic() < end_s:
        plc.client.write_coils(0, [coil == SCRATCHES for coil in range(65)])
    assert result_of(plc, SCRATCHES) == NO_ANSWER
    plc.client.write_coil(0, True)
    assert result_of(plc, 0) == NOTHING
    plc.client.write_coil(SCRATCHES, False)
    plc.client.write_coil(SCRATCHES, True)
    assert result_of(plc, SCRATCHES) == NO_ANSWER
    bridge.end()
    asked = [event["coil"] for event in bridge.events if event["event"] == "acknowledge_finished"]
    assert asked == [SCRATCHES, SCRATCHES], "once while it was held, once by the new edge"


def test_a_write_that_nobody_can_judge_is_not_called_good(tmp_path, start_bridge, connect):
    nowhere = SimpleNamespace(publish=f"ipc://{tmp_path}/p", serve=f"ipc://{tmp_path}/s")
    plc = connect(start_bridge(nowhere, more=NOWHERE.format(steady_s=0.5)))
    answer = plc.client.write_coil(SCRATCHES, True)
    assert answer.bits == [True], "a write is answered by its echo, also where it is over at once"
    assert result_of(plc, SCRATCHES) == NO_ANSWER
    assert plc.client.write_coils(ALL, [True, True]).exception_code == 2


def test_who_may_write_is_named_where_a_network_can_reach_the_bridge(tmp_path):
    config = tmp_path / "modbus.toml"
    config.write_text(
        '[acknowledge]\ncommands = "tcp://127.0.0.1:5572"\n[listen]\naddress = "0.0.0.0"\nopen_to_network = true\n'
    )
    ended = subprocess.run(
        [sys.executable, "-m", "linewatch.cli", "bridge", "modbus", config, "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "name the PLCs in [listen] clients" in ended.stderr
