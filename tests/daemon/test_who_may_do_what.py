"""With keys, a service answers each caller by the role of the caller's key, over its socket and command line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bright_strip import write_service
from typed_commands import typed

from linewatch.client import ClientKeys, Commander, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.client.requests import NoAnswerError
from linewatch.contracts.access import Role
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.errors import WireError
from linewatch.wire.access.keyring import make_pair
from linewatch.wire.schema import AlarmMessage

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


class Mill:
    """A running service whose command socket is bound to every address of this host."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys = folder, folder / "keys"
        make_pair(self.keys, "server")
        for role in Role:
            make_pair(self.keys, f"desk-{role}", role)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.publish, self.serve = f"ipc://{folder}/pub", f"ipc://{folder}/rep"
        self.commands = f"tcp://127.0.0.1:{port}"
        config = write_service(folder, frames=1500, frames_per_s=5)
        text = config.read_text().replace(f"ipc://{folder}/cmd", f"tcp://0.0.0.0:{port}")
        config.write_text(
            f'{text}\n[wire.keys]\nserver_secret_file = "{self.keys}/server.key_secret"\n'
            f'clients_dir = "{self.keys}/clients"\n'
        )
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "linewatch.cli", "run", config],
                cwd=ROOT,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                ask_snapshot(self.serve, 0.5, keys=self.of(Role.OBSERVER))
                return
            except WireError:
                assert self.process.poll() is None, self.log.read_text()
        raise AssertionError("the service does not answer")

    def of(self, name: str) -> ClientKeys:
        return ClientKeys(self.keys / f"desk-{name}.key_secret", self.keys / "server.key")

    def type(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this key in the environment."""
        keys = self.of(name)
        return _linewatch(
            *words, LINEWATCH_KEY=str(keys.secret_file), LINEWATCH_SERVER_KEY=str(keys.server_public_file)
        )

    def command(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.type(name, *words, "--commands", self.commands, "--json")

    def events(self, name: str) -> list[dict]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0


def _linewatch(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return typed(*words)


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    running = Mill(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def _refused(ended: subprocess.CompletedProcess[str], *said: str) -> None:
    assert ended.returncode == WireError.exit_code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    for words in said:
        assert words in ended.stderr


def _wait_for(mill: Mill, rule: str) -> AlarmMessage:
    with Subscriber(mill.publish, mill.serve, ["alarm"], keys=mill.of(Role.OBSERVER), since="epoch") as listening:
        for _ in range(600):
            message = listening.poll(0.1)
            if isinstance(message, AlarmMessage) and message.rule == rule and message.state is AlarmState.RAISED:
                return message
    raise AssertionError(f"no alarm of {rule}")


def test_each_desk_does_what_its_key_allows_and_the_journal_and_the_log_name_the_key(mill: Mill) -> None:
    alarm = _wait_for(mill, "latched")
    _refused(mill.command("observer", "ack", alarm.id), "forbidden", "needs the role operator; key 'desk-observer' is")
    acknowledged = mill.command("operator", "ack", alarm.id, "--by", "ann", "--token", "the-first-one")
    assert acknowledged.returncode == 0, acknowledged.stderr
    marks = [body["command"] for body in json.loads(acknowledged.stdout)["changed"]]
    assert [(mark["by"], mark["said_by"]) for mark in marks] == [("desk-operator", "ann")]
    again = mill.command("operator", "ack", alarm.id, "--token", "the-first-one")
    assert json.loads(again.stdout)["changed"] == json.loads(acknowledged.stdout)["changed"]
    _refused(mill.command("engineer", "ack", alarm.id, "--token", "the-first-one"), "names another request")
    shelved = mill.command("operator", "shelve", "square", "--minutes", "5", "--by", "ann")
    assert "by ann (key desk-operator)" in json.loads(shelved.stdout)["changed"][0]["text"]
    _refused(mill.command("operator", "engine", "load", "screen"), "needs the role engineer")
    for name in Role:
        assert mill.command(name, "engine", "show").returncode == 0
        listed = mill.type(name, "alarms", "--serve", mill.serve, "--json")
        assert "square" in [body["id"] for body in json.loads(listed.stdout)["suppressed_or_shelved"]]
    dropped = mill.command("engineer", "engine", "drop")
    assert dropped.returncode == 0, dropped.stderr
    watched = mill.type("observer", "watch", mill.publish, "--serve", mill.serve, "--json", "--for-s", "2")
    assert '"topic":"status"' in watched.stdout

    with Subscriber(mill.publish, mill.serve, ["alarm"], keys=mill.of("engineer"), since="epoch") as listening:
        told = None
        while not isinstance(told, AlarmMessage) or told.command is None:
            told = listening.poll(PATIENCE_S)
        assert (told.command.by, told.command.said_by) == ("desk-operator", "ann"), "as it is journaled"
    mill.end()
    trail = [(event["key"], event["asked"]["action"], event["outcome"]) for event in mill.events("command")]
    assert trail[:6] == [
        ("desk-observer", "acknowledge", "forbidden"),
        ("desk-operator", "acknowledge", "accepted"),
        ("desk-operator", "acknowledge", "accepted"),
        ("desk-engineer", "acknowledge", "refused"),
        ("desk-operator", "shelve", "accepted"),
        ("desk-operator", "load", "forbidden"),
    ]
    assert trail[6:] == [("desk-engineer", "drop", "accepted")], "a look is no command"
    assert mill.events("command")[1]["asked"]["by"] == "ann"


def test_keys_come_and_go_while_the_service_runs(mill: Mill) -> None:
    folder = ["--dir", str(mill.keys)]
    elsewhere = mill.folder / "elsewhere"
    made = _linewatch("keys", "new", "night-shift", "--dir", str(elsewhere))
    assert made.returncode == 0, made.stderr
    own = ["--key", f"{elsewhere}/night-shift.key_secret", "--server-key", f"{mill.keys}/server.key"]
    ack = ["ack", "--all", "--commands", mill.commands, *own]
    _refused(_linewatch(*ack), "no answer from the service", "or does not allow this key")
    allowed = _linewatch("keys", "allow", f"{elsewhere}/night-shift.key", "--role", "operator", *folder)
    assert allowed.returncode == 0, allowed.stderr
    assert _linewatch(*ack).returncode == 0
    assert _linewatch("keys", "revoke", "night-shift", *folder).returncode == 0
    for keys in (ClientKeys(Path(own[1]), Path(own[3])), None):
        with Commander(mill.commands, 0.5, keys=keys) as commander, pytest.raises(NoAnswerError) as unanswered:
            commander.acknowledge()
        assert ("does not allow this key" if keys else "or requires a key") in str(unanswered.value)
    assert mill.command("operator", "ack", "--all").returncode == 0, "and others are served all the while"
    Path(own[1]).chmod(0o644)
    _refused(_linewatch(*ack), "others on this host can read or change the secret key", "chmod 600")
    assert _linewatch("ack", "--all", *own[:2]).returncode == 2, "one of two"
    mill.end()
    lists = [sorted(event["allowed"]) for event in mill.events("allow_list_read")]
    desks = sorted(f"desk-{role}" for role in Role)
    assert lists == [desks, [*desks, "night-shift"], desks]


def test_the_service_refuses_a_secret_that_others_can_read(tmp_path: Path) -> None:
    config = write_service(tmp_path, frames=1, frames_per_s=25)
    secret, _ = make_pair(tmp_path / "keys", "server")
    make_pair(tmp_path / "keys", "hmi", Role.OPERATOR)
    secret.chmod(0o644)
    config.write_text(
        f'{config.read_text()}\n[wire.keys]\nserver_secret_file = "{secret}"\nclients_dir = "{tmp_path}/keys/clients"\n'
    )
    _refused(_linewatch("run", str(config)), "[wire.keys]", "mode 0644: others on this host can read", "expected 0600")
