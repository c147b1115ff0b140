"""`linewatch ARGUMENT...` with faults inside it: `python -m benchmarks.soak.faulty_process FOLDER ARGUMENT...`.

What FOLDER holds says which: `clock` (seconds by which the wall clock is off), `sync` (seconds that each sync of a disk
takes), `engine` (every inference fails). A thread looks at it ten times a second; nothing else differs.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

_LOOK_S = 0.1


class _Now:
    """The faults of this moment."""

    off_ns, sync_s, engine_fails = 0, 0.0, False


def _follow(folder: Path) -> None:
    while True:
        _Now.off_ns = round(_number(folder / "clock") * 1e9)
        _Now.sync_s = _number(folder / "sync")
        _Now.engine_fails = (folder / "engine").exists()
        time.sleep(_LOOK_S)


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # absent, or written at this moment
        return 0.0


def _patch() -> None:
    unix_ns = time.time_ns
    time.time_ns = lambda: unix_ns() + _Now.off_ns
    time.time = lambda: (unix_ns() + _Now.off_ns) / 1e9

    for name in ("fsync", "fdatasync"):
        setattr(os, name, _slow(getattr(os, name)))

    import onnxruntime

    real = onnxruntime.InferenceSession.run_with_iobinding

    def run(session: Any, *arguments: Any, **named: Any) -> None:
        if _Now.engine_fails:
            raise RuntimeError("the device is lost (injected)")
        real(session, *arguments, **named)

    onnxruntime.InferenceSession.run_with_iobinding = run


def _slow(sync: Any) -> Any:
    def synced(file: int) -> None:
        time.sleep(_Now.sync_s)
        sync(file)

    return synced


if __name__ == "__main__":
    control = Path(sys.argv.pop(1))
    _patch()
    threading.Thread(target=_follow, args=(control,), name="faults", daemon=True).start()
    from linewatch.cli import main

    sys.exit(main())
