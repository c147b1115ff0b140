"""Which of the engines here can show where it saw a defect: one that found it, and whose output is a map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from linewatch.contracts.manifest import MANIFEST, EngineManifest, Task

SHOWN: Final = (Task.INSPECT, Task.SEGMENT, Task.SCREEN)
"""The tasks whose output is a map, the most telling first."""


def shown_engine(identities: Sequence[str], engines_dir: Path) -> tuple[str, Task] | None:
    """Return the name and the task of the engine in the folder whose model is one of these, and whose output is a map.

    identities: of the engines that found the defect. None: none of them lies in the folder.
    """
    found: dict[Task, str] = {}
    for path in sorted(engines_dir.glob(f"*/{MANIFEST}")):
        try:
            manifest = EngineManifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        if any(f"@{manifest.model.sha256[:12]}/" in identity for identity in identities):
            found.setdefault(manifest.task, path.parent.name)
    return next(((found[task], task) for task in SHOWN if task in found), None)
