"""A socket is bound to an allowed endpoint, or the error says what to do."""

import socket
import subprocess
import sys

import pytest
import zmq

from linewatch.config.wire import KeySettings, WireSettings
from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.keyring import make_pair
from linewatch.wire.endpoints import bind, is_local, load_keys
from linewatch.wire.publisher import Publisher


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context
        context.destroy(0)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5570", "tcp://*:5570", "tcp://eth0:5570", "tcp://192.168.0.4:5570", "tcp://[::]:5570"],
)
def test_an_endpoint_that_others_can_reach_is_refused_without_keys(endpoint):
    for name in ("publish", "serve", "commands"):
        with pytest.raises(WireError, match=r"reached from other hosts.*configure \[wire.keys\], or bind to loopback"):
            load_keys(WireSettings(**{name: endpoint}))


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5570", "tcp://127.8.8.8:1", "tcp://localhost:*", "tcp://[::1]:5570", "ipc:///run/x"]
)
def test_loopback_and_ipc_need_no_keys(endpoint):
    assert is_local(endpoint)
    assert load_keys(WireSettings(publish=endpoint)) is None


def test_with_keys_any_endpoint_may_be_bound(tmp_path):
    secret, _ = make_pair(tmp_path, "server")
    make_pair(tmp_path, "hmi", Role.OBSERVER)
    configured = KeySettings(server_secret_file=secret, clients_dir=tmp_path / "clients")
    keys = load_keys(WireSettings(publish="tcp://*:5570", commands="tcp://10.0.0.7:5572", keys=configured))
    assert keys.allowed.folder == tmp_path / "clients"


def test_keys_that_cannot_be_used_are_refused_with_a_remedy(tmp_path):
    secret, public = make_pair(tmp_path, "server")
    _, stranger = make_pair(tmp_path, "stranger")
    clients = tmp_path / "clients"

    def load(secret_file=secret):
        load_keys(WireSettings(keys=KeySettings(server_secret_file=secret_file, clients_dir=clients)))

    with pytest.raises(WireError, match=r"\[wire.keys\]: .*clients cannot be read as a folder of keys"):
        load()
    clients.mkdir()
    with pytest.raises(WireError, match="nobody could connect: `linewatch keys new NAME --role ROLE` makes one"):
        load()
    (clients / "stray.key").write_text("not a certificate")
    with pytest.raises(WireError, match=r"stray\.key is not a CURVE certificate"):
        load()
    (clients / "stray.key").write_text('metadata\n    role = "boss"\n' + stranger.read_text())
    with pytest.raises(WireError, match=r"role 'boss'; expected observer, operator, engineer"):
        load()
    for name in ("stray.key", "twice.key"):
        (clients / name).write_text(stranger.read_text())
    with pytest.raises(WireError, match="under several names: stray, twice; keep one"):
        load()
    (clients / "twice.key").unlink()
    with pytest.raises(WireError, match="is not a CURVE certificate"):
        load(tmp_path / "absent")
    with pytest.raises(WireError, match="holds no secret key"):
        load(public)
    clients.chmod(0o777)
    with pytest.raises(WireError, match="every user of this host may add keys"):
        load()
    clients.chmod(0o700)
    load()
    secret.chmod(0o644)
    with pytest.raises(WireError, match=r"mode 0644: others on this host can read .* expected 0600.*chmod 600"):
        load()


def test_there_is_one_source_of_roles(tmp_path):
    keys = KeySettings(server_secret_file=tmp_path / "s", clients_dir=tmp_path)
    assert WireSettings(role_without_keys="operator").role_without_keys is Role.OPERATOR
    with pytest.raises(ValueError, match="role_without_keys does not apply with"):
        WireSettings(keys=keys, role_without_keys="operator")
    with pytest.raises(ValueError, match="'observer', 'operator' or 'engineer'"):
        WireSettings(role_without_keys="boss")
    with pytest.raises(ValueError, match="would let every process of this host change engines"):
        WireSettings(role_without_keys="engineer")


def test_a_port_in_use_names_the_port_and_the_remedy(context):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = WireSettings(publish=f"tcp://127.0.0.1:{port}")
        with pytest.raises(WireError, match=rf"port {port} .*in use.*ss -ltnp.*set another \[wire\] publish"):
            Publisher(context, settings, None).__enter__()


def test_an_ipc_path_of_a_running_service_is_not_taken_over_but_a_left_one_is(tmp_path, context):
    endpoint = f"ipc://{tmp_path}/publish"
    code = f"import zmq; s = zmq.Context().socket(zmq.PUB); s.bind({endpoint!r}); print(); input()"
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    owner.stdout.readline()
    with pytest.raises(WireError, match="in use by another process"):
        bind(context.socket(zmq.PUB), endpoint, "publish")
    owner.kill()
    owner.communicate()
    assert (tmp_path / "publish").exists()
    assert bind(context.socket(zmq.PUB), endpoint, "publish") == endpoint


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:99999", "tcp://203.0.113.7:5570", "ipc:///nowhere/at/all"])
def test_an_address_that_is_none_is_an_error_with_a_remedy(context, endpoint):
    with pytest.raises(WireError, match="expected an address of this host"):
        bind(context.socket(zmq.PUB), endpoint, "publish")


def test_a_free_port_can_be_chosen(context):
    with Publisher(context, WireSettings(publish="tcp://127.0.0.1:*"), None) as publisher:
        assert publisher.endpoint.startswith("tcp://127.0.0.1:")
        assert not publisher.endpoint.endswith("*")
