"""The CURVE keys of a client, for a service that has keys."""

from dataclasses import dataclass
from pathlib import Path

import zmq

from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import read_certificate, read_secret


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """Paths of this client's secret certificate and of the service's public one."""

    secret_file: Path
    server_public_file: Path


class Credentials:
    """The keys, read once and set on every socket. Without keys, sockets are left unchanged."""

    def __init__(self, keys: ClientKeys | None) -> None:
        """Read the keys. Raises WireError for an invalid certificate, or a secret that other users can read."""
        self._keys = None
        if keys is not None:
            own, server = read_secret(keys.secret_file), read_certificate(keys.server_public_file)
            if own.public == server.public:
                raise WireError(
                    f"{keys.server_public_file} is the public key of {keys.secret_file}; expected the service's own, "
                    "server.key in its folder of keys"
                )
            self._keys = own.public, own.secret, server.public

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Set the keys on a socket. Call it before the socket connects."""
        if self._keys:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self._keys

    @property
    def hint(self) -> str:
        """The likely reason when no answer comes."""
        if self._keys:
            return "perhaps it is not running, or does not allow this key (see `linewatch keys list` on its host)"
        return "perhaps it is not running, or requires a key"
