"""The secrets of this host that a configuration leads to, so that they can be taken out of whatever is handed on."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from linewatch.config.redact import is_secret
from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import read_certificate


def known_secrets(tree: Any) -> tuple[str, ...]:
    """Return the secret keys, passwords and logins that a tree of TOML holds or names, and those of the environment.

    Relative paths count from the present folder. What cannot be read is no secret that could be handed on.
    """
    found = {value for name, value in os.environ.items() if is_secret(name)}
    found |= {login for value in os.environ.values() for login in _of_url(value)}
    found |= set(_of_tree(tree, ""))
    return tuple(sorted(one for one in found if one.strip()))


def _of_tree(tree: Any, name: str) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _of_tree(value, str(key))
    elif isinstance(tree, list):
        for value in tree:
            yield from _of_tree(value, name)
    elif isinstance(tree, str):
        yield from _of_url(tree)
        if name.endswith("secret_file"):
            with suppress(WireError):
                if (secret := read_certificate(Path(tree)).secret) is not None:
                    yield secret.decode()
        elif name == "login_file":
            with suppress(OSError):
                yield from _of_login(Path(tree).read_text(errors="replace").split("\n", 1)[0].strip())
        elif name == "login_variable":
            yield from _of_login(os.environ.get(tree, ""))
        elif is_secret(name):
            yield tree


def _of_login(login: str) -> Iterator[str]:
    """Yield a login, and its password alone. A user's name is no secret: it may stand in any path."""
    yield login
    yield login.partition(":")[2]


def _of_url(text: str) -> Iterator[str]:
    """Yield the login of a URL, its password, and the values of its query that a name calls secret."""
    _, separator, rest = text.partition("://")
    if not separator:
        return
    login, at, _ = rest.rpartition("@")
    if at:
        yield login
        yield login.partition(":")[2]
        yield unquote(login.partition(":")[2])
    with suppress(ValueError):
        for name, value in parse_qsl(urlsplit(text).query):
            if is_secret(name):
                yield value
