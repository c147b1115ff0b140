"""Who asks, and what they may ask for."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a key lets its holder do, ascending: each role may do what those before it may."""

    OBSERVER = "observer"  # hear, catch up, see how things stand
    OPERATOR = "operator"  # work with what is found
    ENGINEER = "engineer"  # change what looks, and by what rules

    def covers(self, least: "Role") -> bool:
        """Whether this role is enough where `least` is asked for."""
        ascending = list(Role)
        return ascending.index(self) >= ascending.index(least)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the connection's key proves it; what a request says of itself proves nothing.

    key: its name in the allow-list; None: no keys are configured. role None: the key is not, or no longer, allowed;
    `key` is then the public key itself.
    """

    key: str | None
    role: Role | None

    def named(self, said: str) -> tuple[str, str | None]:
        """Who asks, for the record, and, beside a key's name, who it said it was."""
        return (said, None) if self.key is None else (self.key, said)

    def may(self, least: Role) -> bool:
        """Whether it may ask for what needs at least this role."""
        return self.role is not None and self.role.covers(least)
