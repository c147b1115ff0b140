"""Print the extras of linewatch that this environment has, separated by commas, so that `make install` keeps them.

An extra is there when all of its packages are, in any version. Needs nothing but Python: it runs before the install.
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, requires

_OF_EXTRA = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*["']([^"']+)["']""")


def extras(requirements: Iterable[str]) -> list[str]:
    """Return the extras, of those in a distribution's requirements, whose packages are all installed."""
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        if found := _OF_EXTRA.match(requirement):
            packages.setdefault(found[2], []).append(found[1])
    return sorted(extra for extra, names in packages.items() if all(map(_is_installed, names)))


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


def installed_extras() -> list[str]:
    """Return the extras of the linewatch that is installed here; none where it is not."""
    try:
        return extras(requires("linewatch") or ())
    except PackageNotFoundError:
        return []


if __name__ == "__main__":
    print(",".join(installed_extras()))
