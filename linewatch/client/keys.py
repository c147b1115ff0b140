"""What a consumer proves by who it is, where the service has keys."""

from dataclasses import dataclass
from pathlib import Path

import zmq

from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import read_certificate, read_secret


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """CURVE: this client's secret certificate, and the service's public one."""

    secret_file: Path
    server_public_file: Path


class Credentials:
    """Read once, presented by every socket. Without keys, sockets stay as they are."""

    def __init__(self, keys: ClientKeys | None) -> None:
        """Raises WireError for a file that is no certificate, or whose secret others can read."""
        self._keys = None
        if keys is not None:
            own, server = read_secret(keys.secret_file), read_certificate(keys.server_public_file)
            if own.public == server.public:
                raise WireError(
                    f"{keys.server_public_file} is the public key of {keys.secret_file}; expected the service's own, "
                    "server.key in its folder of keys"
                )
            self._keys = own.public, own.secret, server.public

    def arm(self, socket: zmq.Socket[bytes]) -> None:
        """Before it connects."""
        if self._keys:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self._keys

    @property
    def hint(self) -> str:
        """What may be wrong when nobody answers."""
        if self._keys:
            return "perhaps it does not run, or does not allow this key (`linewatch keys list` there tells)"
        return "perhaps it does not run, or wants a key"
