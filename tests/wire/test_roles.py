"""The command socket checks the role of the key at every request, and audits every command."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import structlog
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import linewatch
from linewatch.client.connection import connect
from linewatch.client.keys import ClientKeys, Credentials
from linewatch.config.wire import KeySettings, WireSettings
from linewatch.contracts.access import Caller, Role
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.logs import FROM_OUTSIDE, LogSums, add_former_name
from linewatch.wire.access.audit import facts_of, log_command
from linewatch.wire.access.keyring import allow, make_pair, revoke
from linewatch.wire.commands import CommandServer
from linewatch.wire.endpoints import load_keys
from linewatch.wire.roles import LEAST_ROLE
from linewatch.wire.router import refusal
from linewatch.wire.schema import (
    REPLY,
    AlarmRequest,
    Command,
    EngineAction,
    EngineCommand,
    EngineReply,
    ErrorCode,
    ErrorReply,
    SnapshotReply,
    canonical,
)
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker

ENGINES = {"load": {"name": "screen-b"}, "promote": {}, "rollback": {}, "drop": {}, "show": {}}
ALARMS = {"acknowledge": {}, "shelve": {"alarm": "square"}, "unshelve": {"alarm": "square"}}
COILS = {"start": {"coil": "C-1"}, "end": {}, "data": {"data": {"coil": "C-1", "product": "tin"}}, "show": {}}
ALL = {"engine": ENGINES, "disagreements": {"show": {}}, "alarm": ALARMS, "coil": COILS, "rules": {"reload": {}}}
COMMANDS = [(kind, action, more) for kind, actions in ALL.items() for action, more in actions.items()]


DROP = EngineCommand(schema_version=1, request="engine", id=1, action=EngineAction.DROP)
ACCEPTED = EngineReply(schema_version=1, reply="engine", id=1, engines=(), beside=None)


class Taken:
    """Takes the commands that the socket lets through, in place of the daemon, and records them."""

    engines, beside = (), None

    def __init__(self):
        self.commands, self.orders, self.coils = [], [], []
        self.alarms = AlarmOrders([], self.orders.append)

    def command(self, command):
        self.commands.append(command)

    def take(self, request, caller):
        self.coils.append(request.action)
        return f"asked by {caller.key}"

    reload = take

    def finish(self):
        """Answer the pending commands: the service has stopped deciding."""
        self.alarms.close()


class EmptyStore:
    identity = ""

    def epochs(self):
        return [1]

    def span(self, epoch, topic):
        return None


@contextlib.contextmanager
def serving(folder, **wire):
    """A service's two ROUTER sockets with the keys of `folder`, each on a thread of its own, as the daemon has them."""
    configured = WireSettings(
        serve="tcp://127.0.0.1:*",
        commands="tcp://127.0.0.1:*",
        keys=KeySettings(server_secret_file=folder / "server.key_secret", clients_dir=folder / "clients"),
        **wire,
    )
    context, stop, keys, taken = zmq.Context(), threading.Event(), load_keys(configured), Taken()
    routers = (
        Server(context, configured, keys, EmptyStore(), SnapshotTracker(1, []).snapshot),
        CommandServer(context, configured.commands, keys, taken, taken.alarms, taken),
    )
    ready = [threading.Event() for _ in routers]

    def run(router, opened):
        with router:
            opened.set()
            while not stop.is_set():
                router.poll(20)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(routers, ready, strict=True)]
    for thread in threads:
        thread.start()
    assert all(opened.wait(10) for opened in ready)
    clients = zmq.Context()
    found = SimpleNamespace(serve=routers[0].endpoint, commands=routers[1].endpoint, taken=taken, folder=folder)

    def dealer(name, endpoint=found.commands):
        return connect(clients.socket(zmq.DEALER), endpoint, "commands", Credentials(keys_of(folder, name)))

    found.dealer = dealer
    try:
        yield found
    finally:
        clients.destroy(0)
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        context.destroy(0)


def keys_of(folder, name):
    return ClientKeys(folder / f"{name}.key_secret", folder / "server.key")


@pytest.fixture
def folder(tmp_path):
    make_pair(tmp_path, "server")
    for role in Role:
        make_pair(tmp_path, role.value, role)
    return tmp_path


@pytest.fixture
def service(folder):
    with serving(folder) as found:
        yield found


def ask(dealer, request):
    dealer.send(request if isinstance(request, bytes) else json.dumps({"schema_version": 1, **request}).encode())
    assert dealer.poll(10_000), "no reply"
    return REPLY.validate_json(dealer.recv_multipart()[-1])


def command(kind, action, more, number=7):
    named = {"token": f"token-{number:04}-{action}"} if kind in ("alarm", "coil") and action != "show" else {}
    return {"request": kind, "id": number, "action": action, **named, **more}


def test_every_command_has_a_least_role():
    kinds = {model.model_fields["request"].annotation: model for model in get_args(Command)}
    expected = set()
    for kind, model in kinds.items():
        actions = model.model_fields["action"].annotation
        expected |= {(get_args(kind)[0], action) for action in get_args(actions) or actions}
    assert set(LEAST_ROLE) == expected
    assert {(kind, action) for kind, action, _ in COMMANDS} == expected, "and is tried below"


@pytest.mark.parametrize("role", list(Role))
def test_a_role_gets_what_it_may_have_and_nothing_is_done_beyond(service, role):
    dealer, endorsed = service.dealer(role.value), []
    for number, (kind, action, more) in enumerate(COMMANDS, 1):
        asked = command(kind, action, more, number)
        may = role.covers(LEAST_ROLE[kind, action])
        if kind == "alarm" and may:
            dealer.send(json.dumps({"schema_version": 1, **asked}).encode())
            endorsed.append(action)
            continue  # it is answered when the decision has had it
        reply = ask(dealer, asked)
        if kind == "disagreements":
            assert reply.error is ErrorCode.REFUSED  # there are no engines here
        elif may:
            assert isinstance(reply, EngineReply) or reply.text == f"asked by {role}"
            endorsed.append(action)
        else:
            assert (reply.error, reply.id) == (ErrorCode.FORBIDDEN, number)
            assert f"needs the role {LEAST_ROLE[kind, action]}; key '{role}' is {role}" in reply.text
    ask(dealer, {"request": "engine", "action": "show"})  # behind all others
    done = [taken.action for taken in service.taken.commands[:-1]]
    ordered = [order.command.action for order in service.taken.orders]
    assert sorted(done + ordered + service.taken.coils) == sorted(endorsed)
    assert all((order.command.by, order.command.said_by) == (role, "") for order in service.taken.orders)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_may_see_how_things_stand(service, role):
    assert isinstance(ask(service.dealer(role.value, service.serve), {"request": "snapshot"}), SnapshotReply)


def test_what_a_request_says_of_its_sender_proves_nothing(service):
    dealer = service.dealer("observer")
    for claim in ({"by": "engineer"}, {"role": "engineer"}, {"key": "engineer"}, {"User-Id": "engineer"}):
        reply = ask(dealer, command("alarm", "acknowledge", claim))
        assert reply.error is (ErrorCode.FORBIDDEN if "by" in claim else ErrorCode.BAD_REQUEST)
    named = service.dealer("observer")
    named.disconnect(service.commands)
    named.routing_id = b"engineer"
    named.connect(service.commands)
    assert ask(named, command("engine", "drop", {})).error is ErrorCode.FORBIDDEN
    assert not service.taken.commands
    assert not service.taken.orders


def test_a_role_that_is_changed_and_a_key_that_is_revoked_count_on_open_connections(service):
    dealer, serve = service.dealer("observer"), service.dealer("observer", service.serve)
    drop = command("engine", "drop", {})
    assert ask(dealer, drop).error is ErrorCode.FORBIDDEN
    assert isinstance(ask(serve, {"request": "snapshot"}), SnapshotReply)
    public = service.folder / "clients" / "observer.key"
    for _ in range(20):
        allow(service.folder, public, Role.ENGINEER)
        assert isinstance(ask(dealer, drop), EngineReply)
        allow(service.folder, public, Role.OPERATOR)
        assert ask(dealer, drop).error is ErrorCode.FORBIDDEN
    revoke(service.folder, "observer")
    for socket, request in ((dealer, drop), (dealer, b"\xff"), (serve, {"request": "snapshot"})):
        reply = ask(socket, request)
        assert (reply.error, reply.text) == (ErrorCode.FORBIDDEN, "this key is no longer allowed")
    late = service.dealer("observer")
    late.send(canonical({"schema_version": 1, **drop}))
    assert isinstance(ask(service.dealer("engineer"), drop), EngineReply), "others are answered"
    assert late.poll(300) == 0, "and it does not even connect"


def test_a_key_that_is_in_the_list_twice_is_nobodys(service):
    dealer = service.dealer("operator")
    shelve = command("alarm", "shelve", {"alarm": "square"})
    ask(dealer, {"request": "engine", "action": "show"})
    twice = service.folder / "clients" / "again.key"
    twice.write_text((service.folder / "clients" / "operator.key").read_text().replace("operator", "engineer"))
    assert ask(dealer, shelve).error is ErrorCode.FORBIDDEN
    twice.unlink()
    dealer.send(canonical({"schema_version": 1, **shelve}))
    ask(dealer, {"request": "engine", "action": "show"})
    assert len(service.taken.orders) == 1


def test_a_request_that_comes_again_is_carried_out_once_and_its_token_is_its_senders(service):
    make_pair(service.folder, "colleague", Role.OPERATOR)
    dealer, colleague = service.dealer("operator"), service.dealer("colleague")
    shelve = command("alarm", "shelve", {"alarm": "square", "by": "ann"})
    show = {"request": "engine", "action": "show"}
    for again in (dealer, dealer, service.dealer("operator")):  # the same id and token
        again.send(canonical({"schema_version": 1, **shelve}))
        ask(again, show)
    stolen = ask(colleague, shelve)
    assert (stolen.error, stolen.text) == (ErrorCode.REFUSED, "its token names another request")
    ours = [order.command for order in service.taken.orders]
    assert [(c.token, c.by, c.said_by) for c in ours] == [(shelve["token"], "operator", "ann")]
    dealer.send(canonical({"schema_version": 1, **shelve, "token": "another-one"}))
    ask(dealer, show)
    assert len(service.taken.orders) == 2, "an id that comes again is no more than an id"


ASK_AS = """
import os, sys
import zmq
os.setuid(int(sys.argv[1]))
with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
    dealer.connect(sys.argv[2])
    dealer.send(sys.argv[3].encode())
    print(dealer.recv().decode() if dealer.poll(20_000) else "no answer")
"""


@pytest.fixture
def everybodys():
    """A folder that other users can enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.OPERATOR])
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_without_keys_only_the_services_own_user_and_root_change_engines_and_over_ipc(scheme, role, everybodys):
    endpoint = "tcp://127.0.0.1:*" if scheme == "tcp" else f"ipc://{everybodys}/cmd"
    taken, drop = Taken(), canonical({"schema_version": 1, **command("engine", "drop", {})})
    users = [os.geteuid(), *([65534] if os.geteuid() == 0 else [])]
    with (
        zmq.Context() as context,
        CommandServer(context, endpoint, None, taken, taken.alarms, taken, role_without_keys=role) as server,
    ):
        if scheme == "ipc":
            (everybodys / "cmd").chmod(0o777)
        for user in users:
            asking = subprocess.Popen(
                [sys.executable, "-c", ASK_AS, str(user), server.endpoint, drop], stdout=subprocess.PIPE, text=True
            )
            while asking.poll() is None:
                server.poll(20)
            answer = REPLY.validate_json(asking.communicate()[0])
            if scheme == "ipc" and user == os.geteuid():
                assert isinstance(answer, EngineReply)
            else:
                assert f"needs the role engineer; without keys, every caller is {role}" in answer.text
    assert len(taken.commands) == (scheme == "ipc")


def events(logs, name="command"):
    return [event for event in logs if event["event"] == name]


def test_every_command_is_audited_with_its_key_what_it_asked_and_what_became_of_it(service):
    with capture_logs() as logs:
        operator, observer = service.dealer("operator"), service.dealer("observer")
        ask(observer, command("engine", "load", {"name": "screen-b"}))
        ask(operator, b"{}")
        operator.send(canonical({"schema_version": 1, **command("alarm", "acknowledge", {"by": "ann"})}))
        ask(operator, command("engine", "show", {}, 8))
        ask(service.dealer("engineer"), command("engine", "promote", {}))
        service.taken.finish()
        assert operator.poll(10_000)
        assert REPLY.validate_json(operator.recv()).error is ErrorCode.REFUSED
    forbidden, nonsense, promoted, acknowledged = events(logs)
    assert (forbidden["key"], forbidden["role"], forbidden["outcome"]) == ("observer", "observer", "forbidden")
    assert forbidden["asked"]["name"] == "screen-b"
    assert forbidden["log_level"] == "warning"
    assert (nonsense["key"], nonsense["asked"], nonsense["outcome"]) == ("operator", None, "bad_request")
    assert (promoted["outcome"], promoted["asked"]["action"], promoted["log_level"]) == ("accepted", "promote", "info")
    assert (acknowledged["key"], acknowledged["asked"]["by"]) == ("operator", "ann")
    assert (acknowledged["outcome"], acknowledged["why"]) == (
        "refused",
        "the service has stopped deciding: its source has ended",
    )


def test_the_log_of_a_flood_is_bounded():
    no = refusal(0, ErrorCode.FORBIDDEN, "no")[0]
    with capture_logs() as written:
        for _ in range(1000):
            log_command(facts_of(Caller("hmi", Role.OBSERVER), "10.0.0.7", None, no))
        log_command(facts_of(Caller("other", Role.OBSERVER), "10.0.0.8", None, no))
        for _ in range(200):
            log_command(facts_of(Caller("hmi", Role.ENGINEER), "10.0.0.7", DROP, ACCEPTED))
    sums, kept = LogSums(), []
    for event in written:
        with contextlib.suppress(structlog.DropEvent):
            kept.append(sums(None, event["log_level"], event))
    with capture_logs() as summed:
        sums.log_due(last=True)
    one_by_one = FROM_OUTSIDE["command"].one_by_one
    assert [event["key"] for event in kept if event["outcome"] == "forbidden"] == ["hmi"] * one_by_one + ["other"]
    assert [event["outcome"] for event in kept].count("accepted") == one_by_one
    more = {event["outcome"]: event for event in summed}
    assert {outcome: event["more"] for outcome, event in more.items()} == {
        "forbidden": 1000 - one_by_one,
        "accepted": 200 - one_by_one,
    }
    assert add_former_name(None, "warning", dict(more["forbidden"]))["formerly"] == "more_commands_refused"


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_pair(folder, "server")
    make_pair(folder, "engineer", Role.ENGINEER)
    with serving(folder) as found:
        found.ours = found.dealer("engineer")
        yield found


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=4)
    | st.lists(st.binary(min_size=4000, max_size=6000), min_size=1, max_size=1)
)
def test_whatever_arrives_at_the_command_socket_is_answered_and_does_nothing(noisy, parts):
    noisy.ours.send_multipart(parts)
    assert noisy.ours.poll(10_000)
    assert isinstance(REPLY.validate_json(noisy.ours.recv_multipart()[-1]), ErrorReply)
    assert not noisy.taken.commands
    assert not noisy.taken.orders


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from([*AlarmRequest.model_fields, *EngineCommand.model_fields, "role", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just([{}]),
        max_size=9,
    )
)
def test_a_request_that_looks_like_one_is_a_command_or_an_error(noisy, fields):
    noisy.ours.send(json.dumps({"schema_version": 1, "request": "engine", "action": "show", **fields}).encode())
    assert noisy.ours.poll(10_000)
    REPLY.validate_json(noisy.ours.recv_multipart()[-1])
    assert all(taken.action != "promote" for taken in noisy.taken.commands)


FLOOD = """
import sys
from itertools import count
from pathlib import Path
import zmq
from linewatch.client.keys import ClientKeys, Credentials
from linewatch.client.connection import connect
folder, endpoint = Path(sys.argv[1]), sys.argv[2]
observer, stranger = (
    Credentials(ClientKeys(folder / f"{name}.key_secret", folder / "server.key")) for name in ("observer", "stranger")
)
context = zmq.Context()
dealers = [connect(context.socket(zmq.DEALER), endpoint, "commands", observer) for _ in range(8)]
request = b'{"schema_version": 1, "request": "engine", "action": "drop"}'
told, knocking = False, None
for lap in count():
    if lap % 50 == 0:
        if knocking is not None:
            knocking.close()
        knocking = connect(context.socket(zmq.DEALER), endpoint, "commands", stranger)
    for dealer in dealers:
        for _ in range(50):
            try:
                dealer.send(request, zmq.DONTWAIT)
            except zmq.Again:
                break
        while dealer.poll(0):
            dealer.recv()
            if not told:
                told = True
                print("refused", flush=True)
"""


@pytest.mark.slow
def test_a_flood_of_forbidden_requests_does_not_keep_an_operator_out(folder):
    """The flood comes from other processes on many connections, while unknown keys try to connect; the operator's new
    connections are still accepted and answered.
    """
    make_pair(folder, "stranger")
    with capture_logs(), serving(folder) as service:
        floods = [
            subprocess.Popen(
                [sys.executable, "-c", FLOOD, service.folder, service.commands],
                stdout=subprocess.PIPE,
                env={"PYTHONPATH": str(Path(linewatch.__file__).parents[1])},
            )
            for _ in range(2)
        ]
        try:
            assert all(flood.stdout.readline() == b"refused\n" for flood in floods)
            for number in range(30):
                operator = service.dealer("operator")
                shelve = command("alarm", "shelve", {"alarm": "square"}, number)
                operator.send(canonical({"schema_version": 1, **shelve}))
                reply = ask(operator, command("engine", "show", {}, number))
                assert (reply.reply, reply.id) == ("engine", number)
                operator.close()
            assert all(flood.poll() is None for flood in floods), "the flood goes on all the while"
        finally:
            for flood in floods:
                flood.kill()
                flood.communicate()
    assert len(service.taken.orders) == 30
    assert {taken.action for taken in service.taken.commands} == {"show"}
