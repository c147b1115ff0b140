"""Take passwords, logins and keys out of text that leaves this host."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

REDACTED: Final = "<redacted>"

_SECRET_WORDS: Final = (
    r"passw(?:or)?d|passwort|passphrase|pwd|secret|credential|token|api[_-]?key|private[_-]?key|secret[_-]?key|"
    r"authorization|cookie|login"
)
_SECRET_NAME: Final = re.compile(rf"(?i)(?:{_SECRET_WORDS})|^(?:pass|pw)$")
_NAME_OF_PLACE: Final = re.compile(r"(?i)(?:file|dir|folder|path|variable)[\"']?$")
"""A name that ends so says where a secret is, not what it is."""
_NAMED: Final = re.compile(
    rf"""(?ix)
    (?P<name> (?:{_SECRET_WORDS}) [\w.-]{{0,40}} \\? ["']?) (?P<is> [ \t]* [=:] [ \t]*)
    (?P<value> ["']? (?:basic|bearer|digest) [ \t]+ [^\s"']+ ["']?
      | "(?:\\.|[^"\\])*" | '[^']*' | \\"[^"]*\\" | [^\s,;&}}\]]+ )
    """
)
_LOGIN: Final = re.compile(r"(://)[^\s\"]*@")
_QUERY: Final = re.compile(r"(://[^\s\"?#]*)[?#][^\s\"]+")
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_WHOLE_WORDS_BELOW: Final = 6
"""A known secret that is shorter is taken out as a whole word only, or the text could not be read any more."""


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Return text without what a name calls a secret, logins and queries of URLs, private keys, and `known` secrets.

    known: secrets of this host, which are taken out wherever they stand, also as a URL, JSON or HTTP writes them.
    """
    for secret in sorted({form for one in known if one for form in _forms(one)}, key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(rf"(?<!\w){pattern}(?!\w)" if len(secret) < _WHOLE_WORDS_BELOW else pattern, REDACTED, text)
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _QUERY.sub(rf"\1?{REDACTED}", _LOGIN.sub(rf"\1{REDACTED}@", text))
    return _NAMED.sub(_without_value, text)


def redacted_tree(tree: Any, known: Iterable[str] = ()) -> Any:
    """Return a tree of TOML or JSON with the values of secret names and all that `redacted` takes out of its texts."""
    known = tuple(known)
    if isinstance(tree, Mapping):
        return {
            redacted(str(name), known): REDACTED if is_secret(str(name)) else redacted_tree(value, known)
            for name, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [redacted_tree(value, known) for value in tree]
    if isinstance(tree, str):
        whole = re.sub(r"(?s)://.*@", f"://{REDACTED}@", tree)  # a password may hold spaces and quotes
        return redacted(whole, known)
    return tree


def is_secret(name: str) -> bool:
    """Return whether a setting or variable of that name holds a secret; one that names a file of secrets does not."""
    return bool(_SECRET_NAME.search(name)) and not _NAME_OF_PLACE.search(name)


def without_password(url: str) -> str:
    """Return a URL with its user and without its password, wherever that stands."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return _NAMED.sub(_without_value, f"{scheme}{separator}{user.partition(':')[0]}{at}{place}")


def _without_value(found: re.Match[str]) -> str:
    if _NAME_OF_PLACE.search(found["name"]):
        return found[0]
    mark = found["value"][0] if found["value"][0] in "\"'" else ""
    return f"{found['name']}{found['is']}{mark}{REDACTED}{mark}"


def _forms(secret: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1], encoded}
