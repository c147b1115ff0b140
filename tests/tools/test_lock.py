"""The lock of the base install: complete, with hashes, at the versions of pyproject.toml and constraints.txt."""

import re
import tomllib

from tools.licences import BASE, EXTRAS, ROOT, locked, normalised


def test_the_lock_holds_the_dependencies_at_their_pins() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = {normalised(name): version for name, version in (one.split("==") for one in wanted)}
    assert pins.items() <= locked(BASE).items(), "run make lock"


def test_the_lock_and_the_constraints_agree() -> None:
    assert locked(BASE).items() <= locked(EXTRAS).items(), "copy the versions of requirements/base.lock"


def test_every_locked_package_has_hashes_and_no_index_is_named() -> None:
    text = BASE.read_text()
    requirements = re.split(r"\n(?=[\w])", text.strip())
    assert len(requirements) == len(locked(BASE))
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text
    assert "--index" not in text
