"""`linewatch status`: the state of a running service, its cameras and its bridges, once."""

import time
from typing import Final

from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Subscriber
from linewatch.contracts.errors import WireError
from linewatch.terminal import percent
from linewatch.wire.schema import BridgeStatus, StatusMessage, Topic

WAIT_S: Final = 5.0


def newest_status(publish: str, serve: str, keys: ClientKeys | None) -> StatusMessage:
    """Return the next status message. Raises WireError when none comes within 5 s."""
    deadline_s = time.monotonic() + WAIT_S
    with Subscriber(publish, serve, [Topic.STATUS], keys=keys) as subscriber:
        while (left_s := deadline_s - time.monotonic()) > 0:
            message = subscriber.poll(left_s)
            if isinstance(message, StatusMessage):
                return message
    raise WireError(
        f"no status from {publish} within {WAIT_S:g} s: nobody inspects, or the service requires a key; expected the "
        "endpoint that it names in [wire] publish"
    )


def status_rows(status: StatusMessage) -> list[tuple[str, str]]:
    """Return what the status tells, as names and values."""
    rows = [
        ("state", f"{status.state}, {'healthy' if status.healthy else f'NOT INSPECTING: {status.failure}'}"),
        ("strip", f"{status.quality}, {status.frames_per_s:.1f} frames/s"),
    ]
    if status.coil:
        rows.append(("coil", f"{status.coil}, {(status.along_mm or 0) / 1000:.1f} m"))
    if status.coverage is not None:
        rows.append(("coverage since the start", percent(status.coverage)))
    rows.append(("alarms", f"{status.alarms_standing} stand, {status.alarms_unacknowledged} to acknowledge"))
    rows += [(f"engine {engine.role}", engine.identity) for engine in status.engines]
    rows += [(f"camera {one.name}", f"{one.state}{f': {one.text}' if one.text else ''}") for one in status.cameras]
    if status.journal is not None:
        rows.append(("journal", f"{status.journal.state}{f': {status.journal.why}' if status.journal.why else ''}"))
    return rows + [(f"bridge {one.name}", _bridge(one)) for one in status.bridges]


def _bridge(bridge: BridgeStatus) -> str:
    why = f": {bridge.text}" if bridge.text else ""
    key = f", key {bridge.key}" if bridge.key else ""
    return (
        f"{bridge.protocol} {bridge.health}{why}; {bridge.peers} connected, {bridge.waiting} messages wait, "
        f"{bridge.dropped} dropped{key}"
    )
