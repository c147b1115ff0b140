"""Write the software bill of materials of lock files, in CycloneDX 1.5: `python -m tools.sbom --out out/sbom.json`.

uv writes it, of a project that depends on exactly what the locks name. Needs a package index.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from linewatch.files import write_output
from tools.licences import BASE, ROOT, locked


def bill_of(locks: Iterable[Path]) -> bytes:
    """Return the bill of linewatch with what these locks hold: name, version, and the hash of every file.

    Raises CalledProcessError where uv cannot find a package.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    pins = {name: number for lock in locks for name, number in locked(lock).items()}
    needed = "\n".join(f'  "{name}=={number}",' for name, number in sorted(pins.items()))
    project = f'[project]\nname = "linewatch"\nversion = "{version}"\nrequires-python = ">=3.11"\n'
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(f"{project}dependencies = [\n{needed}\n]\n")
        uv = Path(sys.executable).with_name("uv")
        command = [str(uv), "export", "--format", "cyclonedx1.5", "--preview", "--quiet", "--output-file", "bom.json"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return Path(folder, "bom.json").read_bytes()


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("locks", type=Path, nargs="*", default=[BASE], help="default: requirements/base.lock")
    options = parser.parse_args()
    write_output(options.out, bill_of(options.locks))


if __name__ == "__main__":
    main()
