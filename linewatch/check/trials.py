"""What a check tried: one row for each thing that a configuration names, with where it stands in the file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from linewatch.check.units import Unit
from linewatch.config.places import line_of
from linewatch.contracts.errors import LinewatchError


@dataclass(frozen=True, slots=True)
class TriedSetting:
    """line: of the setting in the file; None: its default. result: what was found, or what is wrong and the remedy."""

    setting: str
    line: int | None
    value: str
    good: bool
    result: str


@dataclass(slots=True)
class Trials:
    """Collects what was tried of one file, whose text is `text`. unit: runs it, where one is installed."""

    text: str
    unit: Unit | None = None
    rows: list[TriedSetting] = field(default_factory=list)

    def attempt(
        self,
        section: str,
        key: str,
        value: object,
        work: Callable[[], str],
        number: int = 0,
        *,
        reads: Path | None = None,
        writes: Path | None = None,
    ) -> bool:
        """Try something that a setting names. Return whether it is good.

        work: returns what was found; raises a LinewatchError or OSError that says what is wrong.
        number: of the section, from 0, where the file may have several. reads, writes: a path that the unit must allow.
        """
        try:
            if self.unit is not None and (path := writes or reads) is not None:
                self.unit.refuse(path, writes=writes is not None)
            good, result = True, work()
        except (LinewatchError, OSError) as error:
            good, result = False, str(error)
        name = f"[{section}] {key}".strip() if section else key
        line = line_of(self.text, section, key, number)
        self.rows.append(TriedSetting(name, line, str(value), good, result))
        return good

    @property
    def faults(self) -> Sequence[TriedSetting]:
        """The rows that are not good."""
        return [row for row in self.rows if not row.good]
