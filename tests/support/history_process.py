"""`linewatch history` in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from linewatch.config.history import HistorySettings

STARTED: list[subprocess.Popen[bytes]] = []


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


def start_history(config: Path) -> subprocess.Popen[bytes]:
    """Its log goes to a file beside the configuration."""
    with config.with_suffix(".log").open("a") as log:
        STARTED.append(subprocess.Popen([sys.executable, "-m", "linewatch.cli", "history", str(config)], stderr=log))
    return STARTED[-1]
