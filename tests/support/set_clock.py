"""Runs linewatch with a wall clock that a file sets: `python set_clock.py FILE ARGUMENT...`; FILE holds seconds.

The clock that never steps stays as it is. All of linewatch asks `time.time_ns` and `time.time`.
"""

import sys
import time
from pathlib import Path

SET, UNIX_NS = Path(sys.argv.pop(1)), time.time_ns


def now_ns() -> int:
    return UNIX_NS() + round(float(SET.read_text()) * 1e9)


time.time_ns = now_ns
time.time = lambda: now_ns() / 1e9

if __name__ == "__main__":
    from linewatch.cli import main

    sys.exit(main())
