"""`make install` takes along the extras that are there."""

import subprocess
import sys
import tomllib

from tools.extras import extras, installed_extras
from tools.licences import ROOT


def test_an_extra_is_there_when_all_of_its_packages_are() -> None:
    requirements = [
        "numpy==2.4.6",
        'pytest==0.1; extra == "dev"',
        "ruff==0.1; extra == 'dev'",
        'psycopg[binary]==3; sys_platform == "linux" and extra == "half"',
        'no-such-package==1; extra == "half"',
        'no-such-package==1; extra == "gone"',
    ]
    assert extras(requirements) == ["dev"]


def test_the_extras_of_this_environment_are_extras_of_linewatch() -> None:
    """The tests run in an environment with the extra `history` at least, whatever its versions."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "history" in installed_extras()
    assert set(installed_extras()) <= set(known)
    script = [sys.executable, ROOT / "tools" / "extras.py"]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert printed == ",".join(installed_extras()) + "\n"


def test_make_install_asks_for_them_before_it_installs_and_installs_them_behind_it() -> None:
    made = ["make", "-n", "-B", "install", "VENV=/nonexistent"]
    recipe = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ask, base, again = (recipe.index(part) for part in ("tools/extras.py", "--require-hashes", '-e ".[$extras]"'))
    assert ask < base < again
