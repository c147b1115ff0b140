"""What a PLC reads: real service, real bridge process, real Modbus client."""

import signal
import socket
from types import SimpleNamespace

import pytest
from bridge_and_plc import PATIENCE_S, ModbusBridge, config_for
from typed_commands import typed

pytestmark = pytest.mark.service

SILENT, RUNNING, UNHEALTHY = 0, 2, 5
SCRATCH, SCRATCHES_BIT = 8, 17


def test_a_plc_reads_the_coil_its_coverage_alarms_and_newest_defects(start_service, start_bridge, connect):
    service = start_service()
    bridge = start_bridge(service)
    plc = connect(bridge)
    plc.wait_for(state=RUNNING)
    service.tell("coil started")
    service.tell("frames 8 3")
    service.tell("alarm")
    values = plc.wait_for(alarms_standing=1)
    expected = {
        "map_version": 1,
        "quality": 1,
        "alarm_words": 1 << SCRATCHES_BIT,
        "alarms_without_bit": 0,
        "messages_lost": 0,
        "along": 9 * 256,
        "coil_state": 1,
        "coil_id": "C1",
        "coil_inspected": 9 * 256,
        "coil_degraded": 0,
        "coil_missed": 0,
        "defect_1_number": 8,
        "defect_1_class": SCRATCH,
        "defect_1_state": 1,
        "defect_1_along_begin": 7 * 2560,
        "defect_1_along_end": 7 * 2560 + 31,
        "defect_1_across_begin": 1000,
        "defect_1_across_end": 1302,
        "defect_1_area": 125,
        "defect_1_confidence": 9123,
        "defect_6_number": 3,
        "defect_changes": 8,
    }
    assert {name: values[name] for name in expected} == expected
    assert plc.client.read_discrete_inputs(0, count=64).bits == [bit == SCRATCHES_BIT for bit in range(64)]
    holding = plc.client.read_holding_registers(100, count=16).registers
    assert holding == plc.client.read_input_registers(100, count=16, device_id=247).registers
    service.tell("clear")
    plc.wait_for(alarms_standing=0, alarm_words=0)
    service.tell("coil ended")
    plc.wait_for(coil_state=2, coil_id="C1", coil_inspected=10 * 256)


def test_a_bridge_that_is_restarted_shows_what_stands(start_service, start_bridge, connect):
    service = start_service()
    service.tell("coil started")
    service.tell("frames 3 3")
    service.tell("alarm")
    for _ in range(2):
        bridge = start_bridge(service)
        values = connect(bridge).wait_for(state=RUNNING)
        assert values["alarm_words"] == 1 << SCRATCHES_BIT
        assert (values["coil_id"], values["coil_inspected"], values["along"]) == ("C1", 1024, 1024)
        assert bridge.end(signal.SIGKILL) == -signal.SIGKILL


def test_the_heartbeat_stands_when_the_service_is_unhealthy(start_service, start_bridge, connect):
    service = start_service()
    plc = connect(start_bridge(service))
    begun = plc.wait_for(state=RUNNING)["heartbeat"]
    plc.wait_beyond(begun + 2)
    service.tell("ailing")
    values = plc.wait_for(state=UNHEALTHY)
    assert values["quality"] == 0
    service.tell("alarm")  # what it still decides is still shown
    assert plc.wait_for(alarms_standing=1)["heartbeat"] == values["heartbeat"]


def test_a_service_that_goes_away_is_shown_and_caught_up_with(start_service, start_bridge, connect):
    service = start_service()
    bridge = start_bridge(service)
    plc = connect(bridge)
    service.tell("coil started")
    service.tell("alarm")
    plc.wait_for(state=RUNNING, alarms_standing=1)
    service.kill()
    gone = plc.wait_for(state=SILENT)
    assert gone["quality"] == 0
    assert gone["alarms_standing"] == 1, "the rest is as it was last known"
    assert plc.read()["heartbeat"] == gone["heartbeat"]
    service.start()
    service.tell("unheard")
    back = plc.wait_for(state=RUNNING, alarms_standing=2, coil_state=2)
    plc.wait_beyond(back["heartbeat"])
    assert not [event for event in bridge.events if event["event"] == "snapshot_unavailable"]


def test_a_service_that_hears_no_questions_is_not_vouched_for(start_service, start_bridge, connect):
    """Without a snapshot the standing alarms are unknown: the heartbeat does not count, and the bridge asks again."""
    service = start_service()
    service.tell("alarm")
    service.tell("deaf")
    bridge = start_bridge(service)
    plc = connect(bridge)
    values = plc.wait_for(state=6)
    bridge.wait_for("snapshot_unavailable", times=2)
    assert plc.read()["heartbeat"] == values["heartbeat"] == 0
    service.restart()
    plc.wait_for(state=RUNNING, alarms_standing=1)


def test_garbage_from_the_service_changes_nothing(start_service, start_bridge, connect):
    service = start_service()
    plc = connect(start_bridge(service))
    plc.wait_for(state=RUNNING)
    service.tell("garbage")
    service.tell("coil started")
    service.tell("alarm")
    assert plc.wait_for(alarms_standing=1)["messages_lost"] == 0


def test_the_low_word_first_where_it_is_configured_so(start_service, start_bridge, connect):
    service = start_service()
    plc = connect(start_bridge(service, more='word_order = "low-first"'))
    plc.wait_for(state=RUNNING)
    service.tell("frames 1 3")
    plc.wait_for(defect_1_number=1 << 16)


def test_the_service_manager_hears_that_it_is_ready_alive_and_stopping(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        nowhere = SimpleNamespace(publish=f"ipc://{tmp_path}/p", serve=f"ipc://{tmp_path}/s")
        bridge = ModbusBridge(config_for(tmp_path, nowhere), NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            assert manager.recv(1000) == b"READY=1"
            assert manager.recv(1000) == b"WATCHDOG=1\nSTATUS=service silent, 0 PLCs connected"
        finally:
            assert bridge.end() == 0
        while (told := manager.recv(1000)).startswith(b"WATCHDOG"):
            pass
        assert told == b"STOPPING=1"


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "c.toml"
        config.write_text(f"[listen]\nport = {port}\n")
        ended = typed("bridge", "modbus", config)
    assert ended.returncode == 5
    assert f"cannot bind [listen] address = '127.0.0.1', port = {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_fault_of_a_configuration_is_told_at_once(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        'word_order = "big"\n[service]\npublish = "tcp://127.0.0.1:*"\nsilence_ms = 3\n'
        '[listen]\naddress = "0.0.0.0"\n[alarm_bits]\na = 1\nb = 1\n[class_codes]\nscratch = 0\n'
    )
    ended = typed("bridge", "modbus", config, "--check")
    assert ended.returncode == 2
    for said in (
        "word_order: found 'big', expected 'high-first' or 'low-first'",
        "[service] publish: 'tcp://127.0.0.1:*' has no port to connect to",
        "[service] silence_ms: unknown key; the unit here is seconds: write silence_s",
        "listen: address '0.0.0.0' can be reached from other hosts",
        "alarm_bits: 'a' and 'b' both have 1",
        "[class_codes] scratch: found 0, expected greater than 0",
    ):
        assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("configs/plant/modbus.toml", "--check"), 0, "configs/plant/modbus.toml: good"),
        ((), 2, "expected a configuration, for example configs/plant/modbus.toml"),
        (("none.toml",), 2, "cannot be read"),
    ],
)
def test_what_the_command_says(arguments, code, said):
    ended = typed("bridge", "modbus", *arguments)
    assert ended.returncode == code
    assert said in ended.stdout + ended.stderr
