"""`linewatch hmi` and `hmi-password`: the page in a browser, and who may log in there."""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from linewatch.config.load import load
from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError
from linewatch.hmi.settings import HmiSettings
from linewatch.logs import configure_logs
from linewatch.terminal import extra

Config = Annotated[Path, Parameter(help="Configuration of `linewatch hmi`.")]


def hmi(config: Config, /) -> None:
    settings = load(config, HmiSettings)
    configure_logs(settings.log.level)
    with extra("hmi"):
        from linewatch.hmi.serve import run_hmi

    def listening(url: str) -> None:
        if sys.stdout.isatty():
            print(f"The page is at {url}  (Ctrl-C ends it)", flush=True)

    run_hmi(settings, listening)


def hmi_password(
    name: Annotated[str, Parameter(help="The person's name, as it will stand in the audit trail.")],
    config: Config,
    /,
    *,
    role: Annotated[
        Literal["observer", "operator", "engineer"], Parameter(help="What the person may do.")
    ] = "operator",
    remove: Annotated[bool, Parameter(help="Remove the person instead; open pages end within seconds.")] = False,
) -> None:
    settings = load(config, HmiSettings)
    with extra("hmi"):
        from linewatch.hmi.access.people import People

    people = People(settings.access.people_file)
    if remove:
        people.remove(name)
        print(f"{name} is removed from {settings.access.people_file}")
        return
    people.set(name, Role(role), _password())
    print(f"{name} may log in as {role}; the password is kept as a hash in {settings.access.people_file}")


def _password() -> str:
    """Read a password: twice from a terminal, once from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise ConfigError("the two passwords differ; try again")
    return password
