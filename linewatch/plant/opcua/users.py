"""Who may use the OPC UA server: users with a password or a certificate, each with a role."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager

from linewatch.contracts.access import Role
from linewatch.plant.opcua.certificates import fingerprint, read_certificate
from linewatch.plant.opcua.settings import OpcuaUser

WAIT_AFTER_FAILURE_S = 1.0
_CLIENTS_REMEMBERED = 256
_LONGEST_PASSWORD = 256
_NOBODY = (  # of a password that nobody has, so that an unknown name takes as long as a known one
    "$argon2id$v=19$m=65536,t=3,p=4$Fp5/kBiU/lhzn+h4VqPGjg$dCXSNY2IWklHRSE6Go4iOt1b3Dz3/+RSt6DxzlRWp+s"
)


@dataclass
class ClientUser(User):
    """A user as asyncua knows it, with the role that linewatch gives."""

    linewatch_role: Role = Role.OBSERVER


class UserList(UserManager):
    """The users of the configuration. A client that failed waits `WAIT_AFTER_FAILURE_S` before it may try again."""

    def __init__(self, users: Sequence[OpcuaUser], anonymous: bool) -> None:
        self._hasher = PasswordHasher()
        self._by_name = {user.name: user for user in users if user.password_hash is not None}
        self._by_certificate = {user.certificate_sha256: user for user in users if user.certificate_sha256}
        self._anonymous = anonymous
        self._token: Any = None
        self._client = b""
        self._failed_s: dict[bytes, float] = {}

    @property
    def tokens(self) -> tuple[type, ...]:
        """The kinds of identity that some user can prove."""
        kinds = (
            (ua.AnonymousIdentityToken, self._anonymous),
            (ua.UserNameIdentityToken, bool(self._by_name)),
            (ua.X509IdentityToken, bool(self._by_certificate)),
        )
        return tuple(kind for kind, offered in kinds if offered)

    @contextmanager
    def checking(self, token: Any, client: bytes) -> Iterator[None]:
        """Say whose identity `get_user` is about to judge. client: certificate of the client's application."""
        self._token, self._client = token, client
        try:
            yield
        finally:
            self._token, self._client = None, b""

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """Return the user, or None when the identity is not proven."""
        now_s = time.monotonic()
        if now_s - self._failed_s.get(self._client, float("-inf")) < WAIT_AFTER_FAILURE_S:
            return None
        user = self._proven(username, password, certificate)
        if user is None:
            self._failed_s[self._client] = now_s
            while len(self._failed_s) > _CLIENTS_REMEMBERED:
                self._failed_s.pop(next(iter(self._failed_s)))
        return user

    def _proven(self, name: str | None, password: str | None, certificate: Any) -> User | None:
        if isinstance(self._token, ua.X509IdentityToken):
            return self._holder(certificate)
        if isinstance(self._token, ua.UserNameIdentityToken):
            known = self._by_name.get(name or "")
            proof = known.password_hash if known and known.password_hash else _NOBODY
            good = len(password or "") <= _LONGEST_PASSWORD and self._matches(proof, password or "")
            return _as_user(known) if known and good else None
        return ClientUser(UserRole.User, "anonymous") if self._anonymous else None

    def _holder(self, der: bytes) -> User | None:
        try:
            certificate = read_certificate(der)
        except ValueError:
            return None
        user = self._by_certificate.get(fingerprint(certificate))
        valid = certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
        return _as_user(user) if user and valid else None

    def _matches(self, proof: str, password: str) -> bool:
        try:
            return self._hasher.verify(proof, password)
        except (Argon2Error, InvalidHashError):
            return False


def _as_user(user: OpcuaUser) -> ClientUser:
    return ClientUser(UserRole.User, user.name, user.role)
