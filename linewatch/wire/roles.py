"""The role that each command needs at least."""

from collections.abc import Mapping
from typing import Final

from linewatch.contracts.access import Role
from linewatch.contracts.alarm import AlarmAction
from linewatch.wire.schema import CoilAction, Command, EngineAction

LEAST_ROLE: Final[Mapping[tuple[str, str], Role]] = {
    ("alarm", AlarmAction.ACKNOWLEDGE): Role.OPERATOR,
    ("alarm", AlarmAction.SHELVE): Role.OPERATOR,
    ("alarm", AlarmAction.UNSHELVE): Role.OPERATOR,
    ("coil", CoilAction.START): Role.OPERATOR,
    ("coil", CoilAction.END): Role.OPERATOR,
    ("coil", CoilAction.DATA): Role.OPERATOR,
    ("coil", CoilAction.SHOW): Role.OBSERVER,
    ("rules", "reload"): Role.ENGINEER,
    ("disagreements", "show"): Role.OBSERVER,
    ("engine", EngineAction.SHOW): Role.OBSERVER,
    ("engine", EngineAction.LOAD): Role.ENGINEER,
    ("engine", EngineAction.PROMOTE): Role.ENGINEER,
    ("engine", EngineAction.ROLLBACK): Role.ENGINEER,
    ("engine", EngineAction.DROP): Role.ENGINEER,
}
"""By the command's `request` and `action` ("" where it has none)."""


def least_role(command: Command) -> Role:
    """Return the role that a command needs at least."""
    return LEAST_ROLE.get((command.request, getattr(command, "action", "")), Role.ENGINEER)
