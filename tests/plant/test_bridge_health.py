"""A bridge tells its health on the status of the service that it follows, and one that is gone is told as silent."""

import pytest
from waiting import wait_until

from linewatch.client import Subscriber
from linewatch.contracts.access import Caller, Role
from linewatch.wire.bridges import MOST_BRIDGES, SILENT_S, Bridges
from linewatch.wire.schema import SCHEMA_VERSION, BridgeHealth, BridgeReport, BridgeStatus, StatusMessage

PATIENCE_S = 120.0
ANYBODY = Caller(None, Role.OPERATOR)


def report(name: str = "modbus", **more) -> BridgeReport:
    fields = {"schema_version": SCHEMA_VERSION, "request": "bridge", "name": name, "protocol": "modbus", **more}
    return BridgeReport(**fields)


def told(service, health: BridgeHealth | None, name: str = "line 1") -> BridgeStatus | None:
    """Return what the status tells of a bridge once that is its health; None: once it is not told of."""
    with Subscriber(service.publish, service.serve, ["status"]) as subscriber:

        def come() -> tuple[BridgeStatus | None] | None:
            message = subscriber.poll(0.2)
            if not isinstance(message, StatusMessage):
                return None
            found = next((bridge for bridge in message.bridges if bridge.name == name), None)
            return (found,) if (found and found.health) == health else None

        return wait_until(come, PATIENCE_S)[0]


@pytest.mark.service
def test_a_bridge_tells_its_health_and_takes_leave(start_service, start_bridge, connect):
    service = start_service()
    bridge = start_bridge(service, more='name = "line 1"')
    first = told(service, BridgeHealth.SERVING)
    assert (first.protocol, first.key, first.text, first.dropped) == ("modbus", None, None, 0)
    service.kill()
    service.start()  # the list of a new service is empty until the bridge reports again
    connect(bridge)
    assert told(service, BridgeHealth.SERVING).report_age_s < SILENT_S
    assert bridge.end() == 0
    assert told(service, None) is None


def test_a_bridge_that_reports_no_longer_is_silent_and_comes_back():
    now_s = 100.0
    bridges = Bridges(lambda: now_s)
    assert bridges.take(report(trouble="PLC in stop", waiting=3, dropped=2), ANYBODY) is None
    (shown,) = bridges.shown()
    assert (shown.health, shown.text, shown.waiting, shown.dropped) == (BridgeHealth.TROUBLED, "PLC in stop", 3, 2)
    now_s += SILENT_S + 1
    (shown,) = bridges.shown()
    assert shown.health is BridgeHealth.SILENT
    assert "no report for 11 s" in shown.text
    bridges.take(report(), ANYBODY)
    assert bridges.shown()[0].health is BridgeHealth.SERVING


def test_no_key_speaks_for_the_bridge_of_another_and_the_list_is_bounded():
    now_s = 0.0
    bridges = Bridges(lambda: now_s)
    bridges.take(report(), Caller("plant-a", Role.OBSERVER))
    bridges.take(report(ending=True), Caller("plant-b", Role.OBSERVER))
    assert [bridge.key for bridge in bridges.shown()] == ["plant-a"]
    for number in range(MOST_BRIDGES - 1):
        now_s += 0.01
        assert bridges.take(report(f"b{number}"), ANYBODY) is None
    assert "32 bridges report already" in bridges.take(report("one more"), ANYBODY)
    now_s = SILENT_S + 0.005  # the first has been silent for too long, and makes room
    assert bridges.take(report("one more"), ANYBODY) is None
    assert "plant-a" not in [bridge.key for bridge in bridges.shown()]
    assert len(bridges.shown()) == MOST_BRIDGES
