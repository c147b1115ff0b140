"""The service's CURVE keys, and what secures a socket with them."""

import stat
from dataclasses import dataclass
from typing import Self

import zmq

from linewatch.config.wire import KeySettings
from linewatch.contracts.errors import WireError
from linewatch.wire.access.allow_list import AllowList, read_allow_list
from linewatch.wire.access.certificates import read_secret

ZAP_DOMAIN = b"linewatch"


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The service's CURVE key pair, and the list of keys that may connect."""

    public: bytes
    secret: bytes
    allowed: AllowList

    @classmethod
    def load(cls, settings: KeySettings) -> Self:
        """Load the keys. Raises WireError when a certificate is missing or invalid, or others could have changed it."""
        folder = settings.clients_dir
        try:
            own = read_secret(settings.server_secret_file)
            keys = read_allow_list(folder)
        except WireError as error:
            raise WireError(f"[wire.keys]: {error}") from error
        if folder.stat().st_mode & stat.S_IWOTH:
            raise WireError(f"every user of this host may add keys to [wire.keys] clients_dir = {folder}; chmod o-w it")
        if not keys:
            raise WireError(
                f"no client certificate (*.key) in [wire.keys] clients_dir = {folder}; nobody could connect: "
                "`linewatch keys new NAME --role ROLE` makes one, `linewatch keys allow FILE --role ROLE` adds one"
            )
        for key in keys:
            if key.fault:
                raise WireError(f"[wire.keys] clients_dir: {key.fault}")
        assert own.secret is not None
        return cls(own.public, own.secret, AllowList(folder))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Secure a socket before it is bound: only allowed keys can connect, and none without an authenticator."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.zap_domain = ZAP_DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
