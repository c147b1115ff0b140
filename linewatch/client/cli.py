"""`linewatch watch`, `alarms`, `ack`, `shelve`, `unshelve`, `engine` and `reload`, for a running service."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.terminal import AsJson, print_pairs, wide_console

if TYPE_CHECKING:
    from linewatch.client import ClientKeys, Commander
    from linewatch.wire.schema import AlarmBody, AlarmReply, EngineReply

PUBLISH, SERVE, COMMANDS = (f"tcp://127.0.0.1:{port}" for port in (5570, 5571, 5572))

Alarm = Annotated[str, Parameter(name="ID", help="ID of an alarm, or the name of its rule.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class KeyOptions:
    """This client's keys, for a service that has keys."""

    key: Annotated[Path | None, Parameter(help="Secret key of this client, *.key_secret. Default: $LINEWATCH_KEY.")] = (
        None
    )
    server_key: Annotated[
        Path | None, Parameter(help="Public key of the service, server.key. Default: $LINEWATCH_SERVER_KEY.")
    ] = None

    def client_keys(self) -> "ClientKeys | None":
        """Return both keys, or None where neither is given. Raises ConfigError where one is missing."""
        from linewatch.client import ClientKeys

        key = self.key or _path_in("LINEWATCH_KEY")
        server_key = self.server_key or _path_in("LINEWATCH_SERVER_KEY")
        if key is not None and server_key is not None:
            return ClientKeys(key, server_key)
        if key is not None or server_key is not None:
            raise ConfigError("expected both --key FILE.key_secret and --server-key FILE.key, or neither")
        return None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class CommanderOptions(KeyOptions):
    """Where a service takes commands, and the keys that it asks for."""

    commands: Annotated[
        str | None,
        Parameter(
            help="Endpoint that the service names in [wire] commands. Default: $LINEWATCH_COMMANDS, else "
            "tcp://127.0.0.1:5572."
        ),
    ] = None

    def commander(self) -> "Commander":
        """Return a commander that is not connected yet."""
        from linewatch.client import Commander

        return Commander(self.commands or os.environ.get("LINEWATCH_COMMANDS") or COMMANDS, keys=self.client_keys())


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RequestOptions(CommanderOptions):
    """The sender of a command, and the token that marks its repetitions."""

    by: Annotated[str | None, Parameter(help="Name for the record. Default: this user and host.")] = None
    token: Annotated[
        str | None,
        Parameter(help="Token of a command that was not answered: sent again, it is carried out once."),
    ] = None


Comment = Annotated[str, Parameter(help="Why, for the record.")]


def watch(
    endpoint: Annotated[str, Parameter(help="Endpoint that the service names in [wire] publish.")] = PUBLISH,
    /,
    *,
    serve: Annotated[str | None, Parameter(help="Its [wire] serve. Default: the port above.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Print one message per line instead of a table.")] = False,
    for_s: Annotated[float | None, Parameter(help="End after this long.")] = None,
    keys: KeyOptions = KeyOptions(),
) -> None:
    from linewatch.client.watch import watch

    watch(endpoint, serve, for_s=for_s, as_json=as_json, keys=keys.client_keys())


def engine(
    action: Annotated[
        Literal["load", "promote", "rollback", "drop", "show"],
        Parameter(help="rollback: to the engine before the newest promotion. show: changes nothing."),
    ],
    name: Annotated[str, Parameter(help="To load: a folder under [inference] engines_dir.")] = "",
    /,
    *,
    shadow: Annotated[bool, Parameter(help="Compare it with the running engine of its task.")] = False,
    by: Annotated[str | None, Parameter(help="Name for the record. Default: this user and host.")] = None,
    as_json: AsJson = False,
    service: CommanderOptions = CommanderOptions(),
) -> None:
    from linewatch.wire.schema import EngineAction

    if (action == "load") != bool(name):
        raise ConfigError(f"engine {action}: expected {'a' if action == 'load' else 'no'} name of an engine")
    with service.commander() as commander:
        reply = commander.engine(EngineAction(action), name, shadow=shadow, by=by)
    if as_json:
        print(reply.model_dump_json())
    else:
        print_pairs("engines", _engine_rows(reply))


def alarms(
    *,
    serve: Annotated[str, Parameter(help="Endpoint that the service names in [wire] serve.")] = SERVE,
    as_json: AsJson = False,
    keys: KeyOptions = KeyOptions(),
) -> None:
    from linewatch.client.connection import ask_snapshot

    found = ask_snapshot(serve, keys=keys.client_keys())
    if as_json:
        rows = {"standing": found.standing_alarms, "suppressed_or_shelved": found.suppressed_or_shelved}
        print(json.dumps({name: [row.model_dump(mode="json") for row in of] for name, of in rows.items()}))
    else:
        _print_alarms(found.standing_alarms, found.suppressed_or_shelved)


def ack(
    alarm: Alarm | None = None,
    /,
    *,
    everything: Annotated[bool, Parameter(name="--all", help="Acknowledge all standing alarms.")] = False,
    comment: Comment = "",
    as_json: AsJson = False,
    request: RequestOptions = RequestOptions(),
) -> None:
    if everything == (alarm is not None):
        raise ConfigError("ack: expected the ID of one alarm, or --all; `linewatch alarms` lists them")
    _send(
        request,
        as_json,
        lambda commander: commander.acknowledge(alarm, token=request.token, by=request.by, comment=comment),
    )


def shelve(
    alarm: Alarm,
    /,
    *,
    minutes: Annotated[float | None, Parameter(help="For how long. Default: until the alarm is inactive.")] = None,
    comment: Comment = "",
    as_json: AsJson = False,
    request: RequestOptions = RequestOptions(),
) -> None:
    _send(
        request,
        as_json,
        lambda commander: commander.shelve(alarm, minutes, token=request.token, by=request.by, comment=comment),
    )


def unshelve(
    alarm: Alarm,
    /,
    *,
    comment: Comment = "",
    as_json: AsJson = False,
    request: RequestOptions = RequestOptions(),
) -> None:
    _send(
        request,
        as_json,
        lambda commander: commander.unshelve(alarm, token=request.token, by=request.by, comment=comment),
    )


def reload(
    what: Annotated[Literal["rules"], Parameter(help="rules: grading rules, sensitivity and recipes.")],
    /,
    *,
    by: Annotated[str | None, Parameter(help="Name for the record. Default: this user and host.")] = None,
    as_json: AsJson = False,
    service: CommanderOptions = CommanderOptions(),
) -> None:
    with service.commander() as commander:
        reply = commander.reload_rules(by=by)
    if as_json:
        print(reply.model_dump_json())
        return
    print(f"rules reloaded: settings {reply.config}; grading rules {', '.join(reply.gradings) or 'none'}")
    for name in reply.left:
        print(f"needs a restart: {name}")


def _path_in(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _send(request: RequestOptions, as_json: bool, send: "Callable[[Commander], AlarmReply]") -> None:
    with request.commander() as commander:
        reply = send(commander)
    if as_json:
        print(reply.model_dump_json())
        return
    for alarm in reply.changed:
        print(f"{alarm.id}: {_alarm_state(alarm)}")
    if not reply.changed:
        print("nothing changed: it was already in that state")


def _engine_rows(reply: "EngineReply") -> list[tuple[str, str]]:
    """Return the engines of a running service, and the engine on trial beside them, as rows of a table."""
    rows = [(engine.role, engine.identity) for engine in reply.engines]
    if (beside := reply.beside) is not None:
        rows.append(("beside them", f"{beside.name}: {beside.text or beside.identity or ''} ({beside.state})"))
        if beside.tiles:
            rows.append(
                (
                    "compared",
                    f"{beside.agreed} of {beside.tiles} tiles alike ({beside.agreed / beside.tiles:.1%}); called by "
                    f"the running engine alone {beside.running_only}, by {beside.name} alone {beside.shadow_only}",
                )
            )
        if beside.failed:
            rows.append(("failed", f"on {beside.failed} of {beside.failed + beside.tiles} tiles: not to be promoted"))
    return rows


def _print_alarms(standing: "Sequence[AlarmBody]", held_back: "Sequence[AlarmBody]") -> None:
    """Print the standing alarms, the most urgent first, then the suppressed and shelved ones."""
    from rich.table import Table

    from linewatch.contracts.alarm import Priority

    table = Table(title="alarms", title_justify="left")
    for column in ("priority", "state", "coil", "at m", "what", "id"):
        table.add_column(column, overflow="fold")
    for alarm in [*sorted(standing, key=lambda alarm: -list(Priority).index(alarm.priority)), *held_back]:
        where = f"{alarm.along_mm / 1000:.2f}" if alarm.coil else ""
        table.add_row(alarm.priority, _alarm_state(alarm), alarm.coil, where, alarm.text, alarm.id)
    wide_console().print(table if table.row_count else "no alarms")


def _alarm_state(alarm: "AlarmBody") -> str:
    """Return the state of an alarm in an operator's words."""
    from linewatch.contracts.alarm import ShelvingState

    if alarm.shelving_state is ShelvingState.TIMED_SHELVED and alarm.shelved_until_unix_ns is not None:
        until = datetime.fromtimestamp(alarm.shelved_until_unix_ns / 1e9).astimezone()
        return f"shelved until {until:%H:%M}"
    if alarm.shelving_state is ShelvingState.ONE_SHOT_SHELVED:
        return "shelved until the alarm is inactive"
    if alarm.suppressed_state:
        return "suppressed"
    if not alarm.active_state:
        return "over"
    return "acknowledged" if alarm.acked_state else "to acknowledge"
