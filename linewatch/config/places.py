"""Where a setting stands in the text of a TOML file."""

import re

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\-]+)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def line_of(text: str, section: str, key: str, number: int = 0) -> int | None:
    """Return the line of a TOML text on which a key stands, or the line of its section without a key; None: nowhere.

    number: which section of this name, from 0.
    """
    present, seen = "", -1 if section else 0
    for at, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            present = header[1]
            seen += present == section
            if present == section and seen == number and not key:
                return at
        elif present == section and seen == number and (found := _KEY.match(line)) and found[1] == key:
            return at
    return None
