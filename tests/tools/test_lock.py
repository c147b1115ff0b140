"""The locks of the base install and of extras: complete, with hashes, at the versions of pyproject.toml and
constraints.txt.
"""

import re
import tomllib
from pathlib import Path

import pytest

from tools.licences import BASE, EXTRAS, ROOT, locked, normalised
from tools.lock import UNLOCKED, extras, in_dev_lock

EXTRAS_LOCKED = sorted(path.stem for path in BASE.parent.glob("*.lock") if path != BASE)


def test_the_lock_holds_the_dependencies_at_their_pins() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = {normalised(name): version for name, version in (one.split("==") for one in wanted)}
    assert pins.items() <= locked(BASE).items(), "run make lock"


def test_the_lock_and_the_constraints_agree() -> None:
    assert locked(BASE).items() <= locked(EXTRAS).items(), "copy the versions of requirements/base.lock"


@pytest.mark.parametrize("extra", EXTRAS_LOCKED)
def test_the_lock_of_an_extra_holds_the_base_and_its_own_pins(extra: str) -> None:
    lock = locked(ROOT / "requirements" / f"{extra}.lock")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    pins = (re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)", one) for one in wanted)
    assert {normalised(pin[1]): pin[2] for pin in pins if pin}.items() <= lock.items(), "run make lock"
    assert locked(BASE).items() <= lock.items(), "run make lock"
    known = locked(EXTRAS)
    assert {name: known[name] for name in lock if name in known}.items() <= lock.items(), "run make lock"


@pytest.mark.parametrize("lock", sorted(BASE.parent.glob("*.lock")), ids=lambda lock: lock.stem)
def test_every_locked_package_has_hashes_and_no_index_is_named(lock: Path) -> None:
    text = lock.read_text()
    requirements = re.split(r"\n(?=[\w])", text.strip())
    assert len(requirements) == len(re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==", text, flags=re.MULTILINE))
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text
    assert "--index" not in text


def test_every_extra_has_a_lock() -> None:
    assert set(EXTRAS_LOCKED) == set(extras()) - UNLOCKED, "run make lock"


def test_the_lock_of_developers_holds_all_that_install_dev_installs_but_torch() -> None:
    """`make install-dev` checks the hashes of these."""
    lock = locked(ROOT / "requirements" / "dev.lock")
    for extra in in_dev_lock():
        others = locked(ROOT / "requirements" / f"{extra}.lock")
        assert others.items() <= lock.items(), "run make lock"
    assert "torch" not in lock
