"""The people who may log in: names, roles and passwords, hashed by argon2id (RFC 9106)."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from pydantic import Field, ValidationError

from linewatch.config.base import Settings
from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError
from linewatch.files import write_file

SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256
MOST_PEOPLE: Final = 500
_MOST_BYTES: Final = 1 << 20


class Person(Settings):
    """Somebody who may log in. `name` stands in the service's audit trail behind all that the person does."""

    name: Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f](.{0,62}[^\s\x00-\x1f\x7f])?$")]
    role: Annotated[Role, Field(strict=False)]
    password_hash: Annotated[str, Field(max_length=512)]


class _PeopleFile(Settings):
    person: Annotated[tuple[Person, ...], Field(strict=False, max_length=MOST_PEOPLE)] = ()


class People:
    """The people of a file, read again whenever it changes: whoever is removed is out with the next request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._by_name: dict[str, Person] = {}

    def __len__(self) -> int:
        return len(self._read())

    def find(self, name: str) -> Person | None:
        """Return the person of that name. Raises ConfigError for a file that cannot be read."""
        return self._read().get(name)

    def check(self, name: str, password: str) -> Person | None:
        """Return the person if the password is right. Takes as long for a name that nobody has; 0.1 s of one core."""
        person = self.find(name)
        known = person.password_hash if person is not None else self._nobody
        try:
            self._hasher.verify(known, password[: LONGEST_PASSWORD + 1])
        except (Argon2Error, InvalidHashError):
            return None
        return person

    def set(self, name: str, role: Role, password: str) -> None:
        """Add a person, or give one another password and role. Raises ConfigError."""
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise ConfigError(
                f"a password of {len(password)} characters, expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}; "
                "choose another one"
            )
        try:
            person = Person(name=name, role=role, password_hash=self._hasher.hash(password))
        except ValidationError as error:
            raise ConfigError(
                f"{name!r} is no name of a person, expected 1 to 64 printable characters; choose another one"
            ) from error
        self._write({**self._read(), name: person})

    def remove(self, name: str) -> None:
        """Remove a person. Raises ConfigError where there is none of that name."""
        people = dict(self._read())
        if people.pop(name, None) is None:
            raise ConfigError(f"{self._path} has nobody named {name!r}; it has: {', '.join(people) or 'nobody'}")
        self._write(people)

    def listed(self) -> list[tuple[str, Role]]:
        """Return everybody's name and role."""
        return [(person.name, person.role) for person in self._read().values()]

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        """A hash that no password of a person has, for names that nobody has."""
        return self._hasher.hash(os.urandom(16).hex())

    def _read(self) -> dict[str, Person]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._by_name = None, {}
            return self._by_name
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; let this user read it") from error
        seen = found.st_mtime_ns, found.st_ino, found.st_size
        if seen != self._seen:
            self._by_name = {person.name: person for person in self._parse(found)}
            self._seen = seen
        return self._by_name

    def _parse(self, found: os.stat_result) -> tuple[Person, ...]:
        if found.st_mode & 0o007:
            raise ConfigError(
                f"{self._path} may be read or written by every user (mode {found.st_mode & 0o777:o}), expected 600; "
                f"`chmod 600 {self._path}`"
            )
        try:
            with self._path.open("rb") as file:
                return _PeopleFile.model_validate_json(file.read(_MOST_BYTES)).person
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; let this user read it") from error
        except ValidationError as error:
            raise ConfigError(
                f"{self._path} is no file of people ({error.error_count()} faults); move it away, and set the "
                "passwords again by `linewatch hmi-password`"
            ) from error

    def _write(self, people: dict[str, Person]) -> None:
        content = _PeopleFile(person=tuple(people.values())).model_dump_json(indent=1)
        before = os.umask(0o077)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._path, f"{content}\n".encode(), sync=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write {self._path}: {error.strerror}; name another [access] people_file"
            ) from error
        finally:
            os.umask(before)
        self._seen = None
