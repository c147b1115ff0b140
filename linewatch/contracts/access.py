"""Callers of the command and serve sockets, and the roles that say what they may ask for."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a key's holder may do, in ascending order: each role may do all that the roles before it may."""

    OBSERVER = "observer"  # subscribe, replay, read the state
    OPERATOR = "operator"  # handle alarms and coils
    ENGINEER = "engineer"  # change engines and rules

    def covers(self, least: "Role") -> bool:
        """Return whether this role may do what needs at least the role `least`."""
        ascending = list(Role)
        return ascending.index(self) >= ascending.index(least)


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request, as proven by the connection's key. Made by the router for each request.

    key: its name in the allow-list; None: no keys are configured. role: None when the key is not, or no longer,
    allowed; `key` is then the public key itself.
    """

    key: str | None
    role: Role | None

    def named(self, said: str) -> tuple[str, str | None]:
        """Return (`by`, `said_by`) of an `AlarmCommand`; said: the name that the request gave."""
        return (said, None) if self.key is None else (self.key, said)

    def may(self, least: Role) -> bool:
        """Return whether the caller may do what needs at least the role `least`."""
        return self.role is not None and self.role.covers(least)
