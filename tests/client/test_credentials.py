"""A client's keys: faults are reported before anything is sent."""

import pytest

from linewatch.client import ClientKeys, Commander, Subscriber
from linewatch.client.connection import ask_snapshot
from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.keyring import make_pair

NOBODY = "tcp://127.0.0.1:9"


@pytest.mark.parametrize(
    "connect",
    [
        lambda keys: Subscriber(NOBODY, NOBODY, keys=keys),
        lambda keys: Commander(NOBODY, keys=keys),
        lambda keys: ask_snapshot(NOBODY, keys=keys),
    ],
)
def test_keys_that_cannot_be_used_are_refused_at_once(tmp_path, connect):
    make_pair(tmp_path, "server")
    own, _ = make_pair(tmp_path, "hmi", Role.OPERATOR)
    server = tmp_path / "server.key"
    for keys, why in [
        (ClientKeys(tmp_path / "absent", server), "there is no such file"),
        (ClientKeys(server, server), "holds no secret key"),
        (ClientKeys(own, tmp_path / "clients" / "hmi.key"), "expected the service's own, server.key"),
        (ClientKeys(own, tmp_path / "absent"), "there is no such file"),
    ]:
        with pytest.raises(WireError, match=why):
            connect(keys)
    own.chmod(0o644)
    with pytest.raises(WireError, match="others on this host can read or change the secret key"):
        connect(ClientKeys(own, server))
