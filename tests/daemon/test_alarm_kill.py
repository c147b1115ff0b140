"""A service that is killed at any moment neither loses nor doubles an alarm's transition, commands included.

LINEWATCH_KILLS: how often it is killed; some seconds each.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bright_strip import write_service
from forked import Forked, linewatch

from linewatch.client import Commander, Position, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import WireError
from linewatch.journal.journal import Journal
from linewatch.wire.schema import AlarmMessage, AlarmReply, Snapshot

pytestmark = pytest.mark.service

KILLS = int(os.environ.get("LINEWATCH_KILLS", "3"))
RULES = ("square", "latched", "many")


@dataclass
class Operator:
    """Sends commands until the service is killed; an unanswered one is sent again to the next service."""

    endpoint: str
    dice: random.Random
    unanswered: tuple | None = None
    answers: dict[str, AlarmReply] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    sent_again: int = 0

    def work(self, stop: threading.Event) -> None:
        with Commander(self.endpoint, answer_timeout_s=1.0) as commander:
            while not stop.is_set():
                self.sent_again += self.unanswered is not None
                what, alarm, minutes, token = self.unanswered or self._think()
                self.unanswered = (what, alarm, minutes, token)
                send = getattr(commander, what)
                arguments = (alarm, minutes) if what == "shelve" else (alarm,)
                try:
                    reply = send(*arguments, token=token, by="ann")
                    again = send(*arguments, token=token, by="ann") if self.dice.random() < 0.3 else reply
                    assert again.changed == reply.changed, "the same request has the same answer"
                    assert self.answers.setdefault(token, reply).changed == reply.changed
                except RefusedError:
                    self.refused.add(token)
                except NoAnswerError:
                    continue
                self.unanswered = None
                stop.wait(self.dice.uniform(0, 0.05))

    def _think(self) -> tuple:
        what = self.dice.choice(["acknowledge", "acknowledge", "acknowledge", "shelve", "unshelve", "unshelve"])
        alarm = None if what == "acknowledge" and self.dice.random() < 0.5 else self.dice.choice(RULES)
        minutes = self.dice.choice([None, 0.005, 10.0]) if what == "shelve" else None
        return what, alarm, minutes, f"token-{self.dice.getrandbits(64):016x}"


def start(config: Path) -> Forked:
    with (config.parent / "log").open("ab") as log:
        return linewatch("run", config, streams={2: log.fileno()})


def how_things_stand(endpoint: str, limit_s: float = 60.0) -> Snapshot:
    """Return the snapshot as soon as the service answers."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            return ask_snapshot(endpoint, 0.3)
        except WireError:
            continue
    raise AssertionError("the service does not answer")


def standing(snapshot: Snapshot) -> dict[str, tuple]:
    bodies = (*snapshot.standing_alarms, *snapshot.suppressed_or_shelved)
    return {body.id: (body.acked_state, body.shelved_until_unix_ns) for body in bodies}


def fold(records: list[dict]) -> dict[tuple[int, int], dict[str, tuple]]:
    """Return the retained alarms before each record, by (epoch, sequence). Fails on an impossible transition."""
    retained: dict[str, dict] = {}
    found = {}
    for record in records:
        found[record["epoch"], record["sequence"]] = _standing(retained)
        before, change, is_shelf = retained.get(record["id"]), record["change"], record["id"] == record["rule"]
        if before is None:
            assert change == ("shelved" if is_shelf else "active"), record
        else:
            assert change != "active", f"raised twice: {record}"
            if record["retain"]:
                assert record["acked_state"] >= before["acked_state"], f"an acknowledgement was lost: {record}"
        if record["retain"]:
            retained[record["id"]] = record
        else:
            assert retained.pop(record["id"], None) is not None
    found[1 << 30, 0] = _standing(retained)
    return found


def _standing(retained: dict[str, dict]) -> dict[str, tuple]:
    return {name: (record["acked_state"], record["shelved_until_unix_ns"]) for name, record in retained.items()}


def run_for(service: Forked, seconds: float) -> None:
    """Let the service run for a random time before it is killed; it must not end by itself."""
    with pytest.raises(subprocess.TimeoutExpired):
        service.wait(seconds)


def kill_and_kill(config: Path, operator: Operator, dice: random.Random) -> tuple[list[Snapshot], list[dict]]:
    """Run services one after another, each killed while alarms come and go and commands are sent. Return the snapshots
    and the messages that were heard live."""
    serve, seen, failures = f"ipc://{config.parent}/rep", [], []
    heard: list[dict] = []

    def listen(stop: threading.Event) -> None:
        with Subscriber(f"ipc://{config.parent}/pub", serve, ["alarm"], answer_timeout_s=0.5) as live:
            while not stop.is_set():
                if isinstance(message := live.poll(0.1), AlarmMessage):
                    heard.append(message.model_dump(mode="json"))

    def guarded(work: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            work(stop)
        except BaseException as error:
            failures.append(error)

    for cycle in range(KILLS):
        stop = threading.Event()
        service = start(config)
        threads = [threading.Thread(target=guarded, args=(work, stop)) for work in (operator.work, listen)]
        for thread in threads:
            thread.start()
        try:
            if cycle % 4 == 2:
                run_for(service, dice.uniform(0, 1.5))  # while it starts
            else:
                seen.append(how_things_stand(serve))
                run_for(service, dice.uniform(0.3, 2.0))
                seen.append(how_things_stand(serve))
                run_for(service, dice.uniform(0, 0.05))
        finally:
            service.send_signal(signal.SIGKILL)
            service.wait(60)
            stop.set()
            for thread in threads:
                thread.join(30)
        assert not failures, failures
    return seen, heard


def hear_all(config: Path) -> tuple[Snapshot, list[dict]]:
    """Return a last service's first snapshot, and what a fresh subscriber hears of all services before."""
    serve, heard = f"ipc://{config.parent}/rep", []
    service = start(config)
    try:
        last = how_things_stand(serve)
        with Subscriber(
            f"ipc://{config.parent}/pub", serve, ["alarm"], positions={"alarm": Position(1, 0)}, answer_timeout_s=10.0
        ) as fresh:
            while (message := fresh.poll(20.0)) is not None and message.epoch < last.epoch:
                assert isinstance(message, AlarmMessage), message
                heard.append(message.model_dump(mode="json"))
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    finally:
        service.kill()
    return last, heard


def journaled(config: Path) -> list[dict]:
    """Return every alarm record of all services, in order."""
    records = []
    with Journal(JournalSettings(dir=config.parent / "journal")) as journal:
        for epoch in journal.epochs():
            kept = [json.loads(record.header) for record in journal.read(epoch, "alarm", 0, 1 << 40)]
            assert [record["sequence"] for record in kept] == list(range(len(kept)))
            records += kept
    return records


def check_commands(records: list[dict], operator: Operator) -> int:
    """Check that each was carried out once or not at all, and that each answer is on disk; return how many changed
    something."""
    commanded: dict[str, list[dict]] = {}
    for record in records:
        if record["command"]:
            commanded.setdefault(record["command"]["token"], []).append(record)
    for token, told in commanded.items():
        first = told[0]
        there = [(first["epoch"], first["sequence"] + i) for i in range(len(told))]
        assert [(r["epoch"], r["sequence"]) for r in told] == there, f"{token} was carried out twice"
        assert token not in operator.refused
    for token, reply in operator.answers.items():
        told = commanded.get(token, [])
        assert [body.id for body in reply.changed] == [record["id"] for record in told], "answered, so on disk"
        assert [body.change for body in reply.changed] == [record["change"] for record in told]
    return len(commanded)


@pytest.mark.timeout(120 + 20 * KILLS)
def test_killed_at_any_instruction_no_transition_is_lost_or_doubled(tmp_path: Path) -> None:
    """What the journal holds is what a fresh subscriber hears and what every snapshot said; no alarm is raised twice,
    no acknowledgement or shelf is forgotten; commands that nobody answered are sent again and carried out once."""
    dice = random.Random(20261121)
    config = write_service(tmp_path, frames=900, frames_per_s=60)
    operator = Operator(f"ipc://{tmp_path}/cmd", dice)
    seen, live = kill_and_kill(config, operator, dice)
    last, heard = hear_all(config)
    records = journaled(config)
    before = [record for record in records if record["epoch"] < last.epoch]
    assert heard == before
    assert len(live) > KILLS
    kept = {(record["epoch"], record["sequence"]): record for record in before}
    for message in live:
        assert message == kept[message["epoch"], message["sequence"]], "published, so journaled before"
    assert len(before) > 10 * KILLS, "hardly anything happened"
    assert sum(record["change"] == "acknowledged" for record in records) > KILLS

    states = fold(records)
    places = sorted(states)
    for snapshot in [*seen, last]:
        there = bisect_left(places, (snapshot.epoch, snapshot.sequences["alarm"]))
        assert standing(snapshot) == states[places[there]]
    changing = check_commands(records, operator)
    print(
        f"{KILLS} kills, {len(records)} transitions, {changing} commands that changed something, "
        f"{len(operator.answers)} answered, {operator.sent_again} sent again"
    )
