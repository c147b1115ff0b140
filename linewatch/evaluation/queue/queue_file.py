"""The file of a training queue: which runs, of which protocol, on which set, with which settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, PositiveInt

from linewatch.config.base import Settings
from linewatch.config.load import load
from linewatch.contracts.errors import ConfigError
from linewatch.training.papers.study import PaperSettings
from linewatch.training.protocols import PaperProtocol, paper_protocol


class QueuedRun(Settings):
    """`[[run]]`: one training, as `linewatch train` takes it."""

    name: str = Field(pattern=r"[A-Za-z0-9_.-]{1,80}", description="name of its run folder")
    recipe: str = Field(description="a protocol of `linewatch networks`")
    data: str = Field(description="name of the set")
    set: dict[str, str | int | float | bool | list[str]] = Field(default={}, description="settings of the recipe")
    kfold: int | None = Field(default=None, ge=2, le=100, description="train so many networks, each without one fold")
    weights: str | None = Field(default=None, description='"imagenet" or a file, instead of random weights')
    trunk_of: str | None = Field(default=None, description="start from the trunk of this run, which stands before")

    @property
    def protocol(self) -> PaperProtocol:
        """The recipe. Raises ConfigError."""
        return paper_protocol(self.recipe)

    @property
    def changes(self) -> tuple[str, ...]:
        """The settings as `--set` takes them."""
        return tuple(f"{name}={_text(value)}" for name, value in self.set.items())

    @property
    def settings(self) -> PaperSettings:
        """The settings of the recipe. Raises ConfigError."""
        return self.protocol.settings.with_settings(self.changes)


class QueueFile(Settings):
    """A training queue."""

    at_once: PositiveInt = Field(default=1, le=64, description="runs that are trained at the same time")
    run: list[QueuedRun] = Field(min_length=1, description="the runs, in their order")


def read_queue(path: Path, folders: Mapping[str, Path]) -> QueueFile:
    """Return the queue in a TOML file, checked as a whole, so that no night is lost to a slip in its last run.

    folders: the sets at hand, by name. Raises ConfigError naming the first run that cannot be trained.
    """
    queue = load(path, QueueFile)
    twice = [name for name, count in Counter(run.name for run in queue.run).items() if count > 1]
    if twice:
        raise ConfigError(f"{path}: two runs have the name {twice[0]!r}; give each its own")
    for number, run in enumerate(queue.run):
        trunks = [one.name for one in queue.run[:number] if one.kfold is None]
        try:
            _check(run, trunks, folders)
        except ConfigError as error:
            raise ConfigError(f"{path}: run {run.name!r}: {error}") from error
    return queue


def _check(run: QueuedRun, trunks: Sequence[str], folders: Mapping[str, Path]) -> None:
    _ = run.settings
    if run.data not in folders:
        raise ConfigError(f"the set {run.data!r} is not among those of --data: {', '.join(folders)}")
    if run.weights is not None and run.trunk_of is not None:
        raise ConfigError("weights and trunk_of are both given; leave one out")
    if run.trunk_of is not None and run.trunk_of not in trunks:
        expected = ", ".join(trunks) or "none stands before"
        raise ConfigError(f"trunk_of is {run.trunk_of!r}, expected a run before it without kfold: {expected}")


def _text(value: str | float | list[str]) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
