"""People and their passwords: hashed, of this user alone, and out with the next request once they are removed."""

import stat
from pathlib import Path

import pytest

from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError
from linewatch.hmi.access.people import People

PASSWORD = "nine rolls of steel"


def test_a_person_logs_in_with_the_password_alone(tmp_path: Path) -> None:
    path = tmp_path / "hmi" / "people.json"
    People(path).set("Jürgen O'Hara", Role.OPERATOR, PASSWORD)
    people = People(path)
    person = people.check("Jürgen O'Hara", PASSWORD)
    assert person is not None
    assert person.role is Role.OPERATOR
    assert people.check("Jürgen O'Hara", PASSWORD + "x") is None
    assert people.check("nobody", PASSWORD) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert "$argon2id$" in path.read_text()


def test_whoever_is_removed_is_out_at_once(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    people = People(path)
    people.set("a", Role.ENGINEER, PASSWORD)
    assert people.find("a") is not None
    People(path).remove("a")
    assert people.find("a") is None
    with pytest.raises(ConfigError, match="nobody named 'a'"):
        people.remove("a")


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [("a", "short", "5 characters, expected 10 to 256"), ("a\nb", PASSWORD, "printable"), ("", PASSWORD, "printable")],
)
def test_it_says_what_is_wrong(tmp_path: Path, name: str, password: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        People(tmp_path / "people.json").set(name, Role.OPERATOR, password)
    assert password not in str(error.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('{"person": []}')
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        len(People(path))
    path.chmod(0o600)
    assert not len(People(path))
    path.write_text('{"person": [{"name": "x"}]}')
    with pytest.raises(ConfigError, match="no file of people"):
        len(People(path))
