"""A history on a small disk of its own: mounts it, runs `linewatch history` on it, and answers questions, one a line.

`unshare --user --map-root-user --mount PYTHON small_disk.py FOLDER MB CONFIG`: so it needs no root where users may have
namespaces. Questions: `fill MB` (leave so much free), `free`, `frames` (that are stored), `pictures` (the severity of
each that is stored and on disk), `found` (defects, their different names, gaps), `end` (exit code of the history).
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from linewatch.contracts.errors import HistoryError
from linewatch.history.database import reading
from linewatch.history.queries import coils, defects, gaps, masks


def fill(folder: Path, free_mb: float) -> None:
    """By a ballast; 0: until nothing more can be written."""
    at = os.statvfs(folder)
    left = at.f_bavail * at.f_frsize - int(free_mb * 1e6)
    try:
        with (folder / "ballast").open("ab", buffering=0) as file:
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 16)))
    except OSError:  # full, as it shall be
        pass


def found(url: str) -> list[object]:
    with reading(url) as connection:
        (row,) = coils(connection)
        every = defects(connection, [row.passage], limit=10_000)
        of_masks = {sum(1 for _ in masks(connection, [found.number])) for found in every}
        return [len(every), len({found.defect.id for found in every}), sorted(of_masks), len(gaps(connection))]


def main(folder: Path, megabytes: str, config: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", folder], check=True)
    print("mounted", flush=True)
    history = subprocess.Popen([sys.executable, "-m", "linewatch.cli", "history", config], stdout=sys.stderr)
    database = folder / "history.sqlite"
    for line in sys.stdin:
        answer: object = None
        match line.split():
            case ["fill", free_mb]:
                fill(folder, float(free_mb))
            case ["free"]:
                (folder / "ballast").unlink()
            case ["frames"]:
                try:
                    with reading(f"sqlite:///{database}") as connection:
                        answer = connection.exec_driver_sql("SELECT sum(frames) FROM coil").scalar()
                except HistoryError:  # it is not made yet
                    answer = None
            case ["pictures"]:
                with sqlite3.connect(database) as look:
                    rows = look.execute("SELECT severity, path FROM image ORDER BY severity").fetchall()
                answer = [severity for severity, path in rows if (folder / "images" / path).is_file()]
            case ["found"]:
                answer = found(f"sqlite:///{database}")
            case ["end"]:
                history.send_signal(signal.SIGTERM)
                answer = history.wait(60)
        print(json.dumps(answer), flush=True)
    history.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
