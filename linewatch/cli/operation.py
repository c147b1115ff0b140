"""Commands to a running service and its neighbours: watch it, answer its alarms, tell it of coils, keys, bridges."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linewatch.cli.arguments import Work, adder, extra
from linewatch.config.load import load, validated
from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.daemon.logs import configure_logs
from linewatch.plant.registry import BRIDGES
from linewatch.wire.schema import CoilDataBody

if TYPE_CHECKING:
    from linewatch.cli.arguments import Commands
    from linewatch.client import ClientKeys

_COIL_FACTS = tuple(name for name in CoilDataBody.model_fields if name != "coil")


def add(commands: "Commands") -> None:  # noqa: PLR0915 - a list of commands
    """The commands of this kind."""
    command = adder(commands)

    watch = command("watch", _watch, "Show a running service's defects, alarms and health in the terminal.")
    watch.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5570", help="its wire.publish")
    watch.add_argument("--serve", help="its wire.serve; default: the port above")
    watch.add_argument("--json", action="store_true", help="one message per line instead of a table")
    watch.add_argument("--for-s", type=float, help="end after this long")
    _keyed(watch)

    engine = command("engine", _engine, "Load an engine beside those of a running service; then promote or drop it.")
    engine.add_argument("action", choices=("load", "promote", "drop", "show"))
    engine.add_argument("name", nargs="?", default="", help="to load: a folder under its inference.engines_dir")
    engine.add_argument("--shadow", action="store_true", help="compare it with the running engine of its task")
    engine.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    engine.add_argument("--json", action="store_true")
    _keyed(engine)

    alarms = command("alarms", _alarms, "List the alarms of a running service: those that stand, and what is shelved.")
    alarms.add_argument("--serve", default="tcp://127.0.0.1:5571", metavar="ENDPOINT", help="its wire.serve")
    alarms.add_argument("--json", action="store_true")
    _keyed(alarms)

    def alarm_command(name: str, work: Work, about: str, **options: Any) -> argparse.ArgumentParser:
        sub = command(name, work, about)
        sub.add_argument("alarm", metavar="ID", help="an alarm's id, or its rule's name", **options)
        sub.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
        sub.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
        sub.add_argument(
            "--token", help="to send a command again that nobody answered: it is carried out once, however often sent"
        )
        sub.add_argument("--json", action="store_true")
        return _keyed(sub)

    ack = alarm_command("ack", _ack, "Acknowledge an alarm of a running service, or all.", nargs="?")
    ack.add_argument("--all", action="store_true", help="all that stand")

    shelve = alarm_command("shelve", _shelve, "Keep a rule's alarms from asking for an operator, for a while.")
    shelve.add_argument("--minutes", type=float, help="for how long; default: until the alarm is over")

    alarm_command("unshelve", _unshelve, "Let a rule's alarms ask for an operator again.")

    coil = command("coil", _coil, "Tell a running service of coils: one starts or ends, or what the mill knows of it.")
    coil.add_argument("action", choices=("start", "end", "data", "show"))
    coil.add_argument("coil", nargs="?", metavar="ID")
    coil.add_argument("--at-mm", type=float, help="start, end: along the coil under the camera; default: now")
    coil.add_argument("--file", type=Path, metavar="FILE.json|FILE.toml", help="data: of a file in place of options")
    for name in _COIL_FACTS:
        number = name.endswith("_mm")
        coil.add_argument(f"--{name.replace('_', '-')}", type=float if number else str, help="data")
    coil.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    coil.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
    coil.add_argument("--token", help="to send a command again that nobody answered: it is taken up once")
    coil.add_argument("--json", action="store_true")
    _keyed(coil)

    reload = command("reload", _reload, "Have a running service read its rules again from its files.")
    reload.add_argument("what", choices=("rules",), help="grading rules, sensitivity, recipes")
    reload.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    reload.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
    reload.add_argument("--json", action="store_true")
    _keyed(reload)

    keys = command("keys", _keys, "Make keys, and say who may do what: new, allow, list, revoke.")
    key_commands = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def key_command(action: str, about: str) -> argparse.ArgumentParser:
        sub = key_commands.add_parser(action, help=about, description=about)
        sub.add_argument(
            "--dir", type=Path, default=Path("keys"), help="folder of keys; its clients/ is [wire.keys] clients_dir"
        )
        sub.add_argument("--json", action="store_true")
        return sub

    new = key_command("new", "Make a key pair; with a role it is allowed at once. 'server': the service's own.")
    new.add_argument("name")
    new.add_argument("--role", choices=tuple(Role))
    allow = key_command("allow", "Let the key of a public certificate in; or change the role of one that is.")
    allow.add_argument("file", type=Path, help="the client's NAME.key")
    allow.add_argument("--role", choices=tuple(Role), required=True)
    allow.add_argument("--name", help="to go by in the list; default: the file's")
    key_command("list", "List the keys that may connect, and their roles.")
    revoke = key_command("revoke", "Take a key's permission away, on connections that are open, too.")
    revoke.add_argument("name")

    bridge = command("bridge", _bridge, "Show a running service to a plant's controllers, in a process of its own.")
    bridge.add_argument("kind", choices=tuple(BRIDGES))
    bridge.add_argument("config", type=Path, nargs="?")
    bridge.add_argument("--check", action="store_true", help="check the configuration and end")
    bridge.add_argument("--map", type=Path, metavar="FILE.csv", help="write the map of registers and end; - prints it")


def _watch(options: argparse.Namespace) -> None:
    from linewatch.client.watch import watch

    watch(options.endpoint, options.serve, for_s=options.for_s, as_json=options.json, keys=_client_keys(options))


def _engine(options: argparse.Namespace) -> None:
    from linewatch.client import Commander
    from linewatch.tables import lineup_table
    from linewatch.wire.schema import EngineAction

    action = EngineAction(options.action)
    if (action is EngineAction.LOAD) != bool(options.name):
        raise ConfigError(f"engine {action}: expected {'a' if action is EngineAction.LOAD else 'no'} name of an engine")
    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = commander.engine(action, options.name, shadow=options.shadow)
    if options.json:
        print(reply.model_dump_json())
    else:
        lineup_table(reply.engines, reply.beside)


def _alarms(options: argparse.Namespace) -> None:
    from linewatch.client.requests import ask_snapshot
    from linewatch.tables import alarms_table

    found = ask_snapshot(options.serve, keys=_client_keys(options))
    if options.json:
        rows = {"standing": found.standing_alarms, "suppressed_or_shelved": found.suppressed_or_shelved}
        print(json.dumps({name: [row.model_dump(mode="json") for row in of] for name, of in rows.items()}))
    else:
        alarms_table(found.standing_alarms, found.suppressed_or_shelved)


def _ack(options: argparse.Namespace) -> None:
    if options.all == (options.alarm is not None):
        raise ConfigError("ack: expected the ID of one alarm, or --all; `linewatch alarms` lists them")
    _command(options, lambda to: to.acknowledge(options.alarm, token=options.token, by=options.by))


def _shelve(options: argparse.Namespace) -> None:
    _command(options, lambda to: to.shelve(options.alarm, options.minutes, token=options.token, by=options.by))


def _unshelve(options: argparse.Namespace) -> None:
    _command(options, lambda to: to.unshelve(options.alarm, token=options.token, by=options.by))


def _coil(options: argparse.Namespace) -> None:
    from linewatch.client import Commander
    from linewatch.tables import coil_table

    facts = {name: getattr(options, name) for name in _COIL_FACTS}
    told = {name: value for name, value in facts.items() if value is not None}
    given = {"coil": options.coil is not None, "at_mm": options.at_mm is not None, "file": options.file is not None}
    usable = {"start": {"coil", "at_mm"}, "end": {"coil", "at_mm"}, "data": {"coil", "file"}, "show": set()}
    alien = [name for name, there in given.items() if there and name not in usable[options.action]]
    if alien or (told and options.action != "data"):
        raise ConfigError(f"coil {options.action} has no {(alien or sorted(told))[0].replace('_', '-')}; leave it out")
    if options.action in ("start", "data") and (options.coil is None) == (options.file is None):
        raise ConfigError(
            f"coil {options.action}: expected the ID of the coil{', or --file' * (options.action == 'data')}"
        )
    known = {"token": options.token, "by": options.by}
    with Commander(options.commands, keys=_client_keys(options)) as commander:
        match options.action:
            case "start":
                reply = commander.start_coil(options.coil, options.at_mm, **known)
            case "end":
                reply = commander.end_coil(options.coil, options.at_mm, **known)
            case "data":
                reply = commander.tell_coil(_coil_data(options, told), **known)
            case _:
                reply = commander.show_coil()
    if options.json:
        print(reply.model_dump_json())
    else:
        coil_table(reply)


def _coil_data(options: argparse.Namespace, told: dict[str, Any]) -> CoilDataBody:
    if options.file is not None:
        from linewatch.daemon.coils.folder import read_coil_file

        if told:
            raise ConfigError(
                f"coil data --file has no {sorted(told)[0].replace('_', '-')} beside the file; write it there"
            )
        return read_coil_file(options.file)
    data, faults = validated(CoilDataBody, {"coil": options.coil, **told}, "coil data")
    if data is None:
        raise ConfigError("\n".join(faults))
    return data


def _reload(options: argparse.Namespace) -> None:
    from linewatch.client import Commander

    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = commander.reload_rules(by=options.by)
    if options.json:
        print(reply.model_dump_json())
        return
    print(f"taken up: settings {reply.config}; grading rules {', '.join(reply.gradings) or 'none'}")
    for name in reply.left:
        print(f"left until a restart: {name} is another in the file")


def _command(options: argparse.Namespace, send: Callable[[Any], Any]) -> None:
    from linewatch.client import Commander
    from linewatch.tables import alarm_state

    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = send(commander)
    if options.json:
        print(reply.model_dump_json())
        return
    for alarm in reply.changed:
        print(f"{alarm.id}: {alarm_state(alarm)}")
    if not reply.changed:
        print("nothing to change: it is so already")


def _keys(options: argparse.Namespace) -> int:
    from linewatch.tables import keys_table
    from linewatch.wire.access import keyring
    from linewatch.wire.access.allow_list import read_allow_list

    folder, facts, said = options.dir, {}, ""
    match options.action:
        case "new":
            role = Role(options.role) if options.role else None
            private, public = keyring.make_pair(folder, options.name, role)
            facts = {"name": options.name, "role": role, "secret_file": str(private), "public_file": str(public)}
            said = f"{private}: for its owner alone\n{public}: {f'allowed as {role}' if role else 'for the other side'}"
        case "allow":
            key = keyring.allow(folder, options.file, Role(options.role), options.name)
            facts, said = {"name": key.name, "role": key.role}, f"{key.name}: allowed as {key.role}"
        case "revoke":
            left = keyring.revoke(folder, options.name)
            facts, said = {"name": options.name, "role": None}, f"{options.name}: not allowed any more"
            said += "" if left else "; none is left, and the service does not start without one"
        case "list":
            keys = read_allow_list(keyring.allow_list_of(folder))
            if options.json:
                print(json.dumps([{**asdict(key), "public": key.public and key.public.decode()} for key in keys]))
            else:
                keys_table(keys)
            return WireError.exit_code if any(key.fault for key in keys) else 0
    print(json.dumps(facts) if options.json else said)
    return 0


def _bridge(options: argparse.Namespace) -> None:
    kind = BRIDGES[options.kind]
    settings = kind.settings() if options.config is None else load(options.config, kind.settings)
    if options.map is not None:
        if kind.address_map is None:
            raise ConfigError(f"bridge {options.kind}: this protocol has no map of addresses; leave --map out")
        addresses = kind.address_map(settings)
        if str(options.map) == "-":
            print(addresses, end="")
        else:
            options.map.write_text(addresses)
    elif options.check:
        print(f"{options.config or 'the defaults'}: good")
    elif options.config is None:
        raise ConfigError(
            f"bridge {options.kind}: expected a configuration, for example configs/plant/{options.kind}.toml"
        )
    else:
        with extra("plant"):
            configure_logs(settings.log.level)
            kind.run(settings)


def _keyed(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    for option, variable, about in (
        ("--key", "LINEWATCH_KEY", "this client's *.key_secret, where the service has keys"),
        ("--server-key", "LINEWATCH_SERVER_KEY", "the service's own server.key"),
    ):
        sub.add_argument(
            option,
            type=Path,
            metavar="FILE",
            default=os.environ.get(variable) or None,
            help=f"{about}; default: ${variable}",
        )
    return sub


def _client_keys(options: argparse.Namespace) -> "ClientKeys | None":
    from linewatch.client import ClientKeys

    if (options.key is None) != (options.server_key is None):
        raise ConfigError("expected both --key FILE.key_secret and --server-key FILE.key, or neither")
    return ClientKeys(options.key, options.server_key) if options.key else None
