"""`linewatch history` in a process of its own, and what it has stored so far."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from forked import Forked, linewatch
from waiting import wait_until

from linewatch.config.history import HistorySettings
from linewatch.contracts.errors import HistoryError
from linewatch.history.database import reading
from linewatch.history.tables import COIL

PATIENCE_S = 120.0
Process = subprocess.Popen[bytes] | Forked
STARTED: list[Process] = []


def write_config(path: Path, settings: HistorySettings) -> Path:
    services = "".join(
        f'[[service]]\nname = "{s.name}"\npublish = "{s.publish}"\nserve = "{s.serve}"\n' for s in settings.service
    )
    images = ""
    if settings.images is not None:
        fields = settings.images.model_dump(mode="json").items()
        images = "[images]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields)
    path.write_text(f'database = "{settings.database}"\ncommit_ms = {settings.commit_ms}\n{services}{images}')
    return path


def start_history(config: Path, by: tuple[str, ...] = ()) -> Process:
    """Its log goes to a file beside the configuration. by: the command that runs it."""
    with config.with_suffix(".log").open("a") as log:
        if by:
            command = [*by, sys.executable, "-m", "linewatch.cli", "history", str(config)]
            STARTED.append(subprocess.Popen(command, stderr=log))
        else:
            STARTED.append(linewatch("history", config, streams={2: log.fileno()}))
    return STARTED[-1]


def stored_frames(url: str) -> int:
    try:
        with reading(url) as connection:
            return connection.execute(sa.select(sa.func.sum(COIL.c.frames))).scalar() or 0
    except HistoryError:  # it is not made yet
        return 0


def wait_for(condition: Callable[[], object]) -> None:
    wait_until(condition, PATIENCE_S)


def let_run(process: Process, for_s: float) -> None:
    """Let a process run for a time; it must not end in it."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(for_s)
        raise AssertionError(f"the process ended with {process.returncode}")
