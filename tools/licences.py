"""Write docs/licences.md, the licences of all locked packages: `python -m tools.licences`."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE, EXTRAS = ROOT / "requirements" / "base.lock", ROOT / "constraints.txt"
PAGE = ROOT / "docs" / "licences.md"

NOT_EVERYWHERE = {"pycairo": "LGPL-2.1-only OR MPL-1.1", "pygobject": "LGPL-2.1-or-later"}
"""Licences of packages that are installed only where the system has what they are built with."""

HEAD = """\
# Licences

linewatch is under Apache-2.0. `make licences` writes this table from what the packages declare of themselves. The base
is what `make install` installs (`requirements/base.lock`); everything else belongs to an extra (`constraints.txt`).
A test fails when a package under a copyleft licence is not allowed by its name.

Wheels bundle libraries under licences of their own. OpenCV's bundles FFmpeg (LGPL-2.1). The wheel of `av` (PyAV)
bundles FFmpeg (LGPL-3.0) and, among other codecs, libx264 and libx265 (GPL-2.0-or-later), two encoders that the service
never calls. Whoever passes that wheel on, in an image of a machine for example, must meet the GPL for it, or build PyAV
without them, on an FFmpeg of the system's or of one's own: `pip install --no-binary av av==18.1.0`.

| package | version | licence | part |
|---|---|---|---|
"""


def locked(path: Path) -> dict[str, str]:
    """Return the version of every package in a lock file, by its normalised name."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), flags=re.MULTILINE)
    return {normalised(name): version for name, version in pins}


def normalised(name: str) -> str:
    """Return a package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, str]:
    """Return the licence of every installed package, by its normalised name."""
    command = [str(Path(sys.executable).with_name("pip-licenses")), "--from=mixed", "--format=json", "--with-system"]
    listed = subprocess.run([*command, "--python", sys.executable], capture_output=True, text=True, check=True)
    return {normalised(row["Name"]): row["License"] for row in json.loads(listed.stdout)}


def page() -> str:
    """Return the table of the packages that are locked and installed."""
    base, licences = locked(BASE), declared() | NOT_EVERYWHERE
    rows = {**locked(EXTRAS), **base}
    return HEAD + "".join(
        f"| {name} | {rows[name]} | {licences[name].replace('; ', ', ')} | {'base' if name in base else 'extra'} |\n"
        for name in sorted(rows)
        if name in licences
    )


if __name__ == "__main__":
    PAGE.write_text(page())
