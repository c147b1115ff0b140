"""Look up known vulnerabilities of what lock files name: `python -m tools.audit requirements/base.lock ...`.

pip-audit asks the package index; uv runs it in an environment of its own. An index that knows nothing of
vulnerabilities answers nothing: then this says so and ends with 3, since "none found" would be untrue. Ends with 1
where some are known.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tools.licences import BASE

PIP_AUDIT: Final = "pip-audit==2.10.1"


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and what a report of pip-audit (format json) says, as text of a few lines."""
    packages = report["dependencies"]
    asked = [one for one in packages if "skip_reason" not in one]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in asked
        for flaw in one["vulns"]
    ]
    not_asked = len(packages) - len(asked)
    if not asked:
        return 3, f"nothing was audited: the package index knows no vulnerabilities of these {len(packages)} packages"
    lines = [f"{len(asked)} packages audited, {len(found)} known vulnerabilities", *found]
    if not_asked:
        lines.append(f"{not_asked} packages were not audited: the index does not know them")
    return (1 if found else 3 if not_asked else 0), "\n".join(lines)


def audited(lock: Path) -> tuple[int, str]:
    """Audit one lock. Return the exit code and a text; 3 where no index answers."""
    command = [str(Path(sys.executable).with_name("uv")), "tool", "run", PIP_AUDIT, "--format", "json"]
    command += ["--progress-spinner", "off", "--require-hashes", "--disable-pip", "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return verdict(json.loads(done.stdout))
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        return 3, f"nothing was audited: no index answers ({said[-1][:200] if said else 'pip-audit said nothing'})"


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("locks", type=Path, nargs="*", default=[BASE], help="default: requirements/base.lock")
    codes = []
    for lock in parser.parse_args().locks:
        code, text = audited(lock)
        print(f"{lock}: {text}")
        codes.append(code)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
